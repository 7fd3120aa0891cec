--- The tables of SipEat in SQLite, made at start. supabase.sql has the same for PostgreSQL.
return [[
CREATE TABLE IF NOT EXISTS contacts (
  email TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  phone TEXT,
  company_name TEXT,
  type TEXT NOT NULL,
  message TEXT NOT NULL,
  score INTEGER NOT NULL,
  reasons TEXT NOT NULL,           -- the rules that made the score, one a line
  event_id TEXT NOT NULL,          -- the last event that wrote this row
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS machines (
  machine_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('setting_up', 'active')),
  address TEXT NOT NULL,
  city TEXT,
  country TEXT,
  latitude REAL,
  longitude REAL,
  driver TEXT NOT NULL,            -- of sipeat.vending
  proof TEXT NOT NULL CHECK (proof IN ('sensor', 'counter', 'none')),
  event_id TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS machine_drivers (
  machine_id TEXT PRIMARY KEY,
  settings TEXT NOT NULL,          -- of the driver, JSON
  payment TEXT,                    -- driver and settings of its reader, JSON
  audit TEXT,                      -- and of what reads its books
  event_id TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS machine_health (
  machine_id TEXT PRIMARY KEY,
  state TEXT NOT NULL,             -- as the machine said last: ready, offline, silent, wrong_board
  reason TEXT,
  board TEXT,
  last_fault TEXT,
  last_fault_at TEXT,
  last_sale_at TEXT,
  audited_at TEXT,
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS inventory (
  machine_id TEXT NOT NULL,
  slot INTEGER NOT NULL,
  drink TEXT NOT NULL,
  stock INTEGER NOT NULL CHECK (stock >= 0),
  capacity INTEGER NOT NULL CHECK (capacity >= stock),
  price_minor INTEGER NOT NULL CHECK (price_minor >= 0),
  currency TEXT NOT NULL,
  event_id TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (machine_id, slot)
);
CREATE TABLE IF NOT EXISTS reservations (
  event_id TEXT PRIMARY KEY,
  machine_id TEXT NOT NULL,
  slot INTEGER NOT NULL,
  drink TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('held', 'dispensing', 'dispensed', 'released')),
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS machine_network (
  machine_id TEXT PRIMARY KEY,
  mode TEXT NOT NULL CHECK (mode IN ('dhcp', 'static')),
  address TEXT UNIQUE,             -- no two machines may have one address
  gateway TEXT,
  mask TEXT,
  event_id TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS maintenance (
  machine_id TEXT NOT NULL,
  kind TEXT NOT NULL,              -- inspection, cleaning, repair, refill
  every_days INTEGER NOT NULL CHECK (every_days > 0),
  next_at TEXT NOT NULL,
  technician TEXT,
  event_id TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (machine_id, kind)
);
CREATE TABLE IF NOT EXISTS submissions (
  event_id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,              -- the event's type
  digest TEXT NOT NULL,            -- of what was sent: the same key with other data is refused
  about TEXT NOT NULL,             -- what its page shows, JSON
  state TEXT NOT NULL CHECK (state IN ('taken', 'sent', 'lost', 'done', 'dead')),
  why TEXT,                        -- what a dead one failed with
  ended TEXT,                      -- and where: the step, what was undone and what not; JSON
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS confirmations (
  event_id TEXT PRIMARY KEY,
  token TEXT NOT NULL,
  machine_id TEXT NOT NULL,
  slot INTEGER NOT NULL,
  drink TEXT NOT NULL,
  customer TEXT NOT NULL,
  email TEXT,
  payment_id TEXT,
  payment_key TEXT,
  state TEXT NOT NULL CHECK (state IN ('open', 'confirmed', 'denied', 'settled')),
  updated_at TEXT NOT NULL
);
]]
