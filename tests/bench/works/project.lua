-- The projection of the benchmark: what each customer has ordered.
local sipeat = require "sipeat"

local ADD = [[INSERT INTO {customers} VALUES (?, 1, ?, ?)
  ON CONFLICT (customer) DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents,
    last = excluded.last]]

sipeat.projection {
  name = "customers",
  topic = sipeat.env.require "BENCH_IN",
  db = sipeat.env.require "BENCH_DB",
  tables = {
    customers = "customer TEXT PRIMARY KEY, orders BIGINT NOT NULL, cents BIGINT NOT NULL, "
      .. "last TEXT NOT NULL",
  },
  on = {
    ["*"] = function(event, rows)
      local data = event.data
      return rows:exec(ADD, data.customerId, math.floor(data.total * 100 + 0.5), event.type)
    end,
  },
}
