--- The tables of the order service.
return [[
CREATE TABLE IF NOT EXISTS orders (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL, restaurant_id TEXT NOT NULL, state TEXT NOT NULL,
  currency TEXT NOT NULL, total INTEGER NOT NULL, paid INTEGER NOT NULL, refunded INTEGER NOT NULL,
  declined INTEGER NOT NULL, payment_id TEXT, payment_method TEXT, shipper_id TEXT, reason TEXT,
  items TEXT NOT NULL, risk TEXT, reserved INTEGER NOT NULL,
  sequence INTEGER NOT NULL,  -- of its last event
  handled INTEGER NOT NULL,   -- up to here its events were handled
  created_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS orders_of_user ON orders (user_id, created_ms);
CREATE INDEX IF NOT EXISTS orders_by_state ON orders (state) WHERE state = 'on_hold';
CREATE TABLE IF NOT EXISTS order_events (
  order_id TEXT NOT NULL, sequence INTEGER NOT NULL, cause TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;
-- What a request has led to and Kafka may not have yet; what events lead to, they lead to again.
CREATE TABLE IF NOT EXISTS unsent (
  order_id TEXT NOT NULL, sequence INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;
-- Foods that are counted; of all others there is always enough.
CREATE TABLE IF NOT EXISTS stock (food_id TEXT PRIMARY KEY, available INTEGER NOT NULL);
]]
