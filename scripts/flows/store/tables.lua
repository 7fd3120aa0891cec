--- What both stores need to know of a table: its key, and the columns that may be empty.
return {
  contacts = { key = { "email" }, optional = { "phone", "company_name" } },
  machines = {
    key = { "machine_id" }, optional = { "city", "country", "latitude", "longitude" },
  },
  machine_drivers = { key = { "machine_id" }, optional = { "payment", "audit" } },
  machine_health = {
    key = { "machine_id" },
    optional = { "reason", "board", "last_fault", "last_fault_at", "last_sale_at", "audited_at" },
  },
  inventory = { key = { "machine_id", "slot" }, optional = {} },
  reservations = { key = { "event_id" }, optional = {} },
  machine_network = { key = { "machine_id" }, optional = { "address", "gateway", "mask" } },
  maintenance = { key = { "machine_id", "kind" }, optional = { "technician" } },
  submissions = { key = { "event_id" }, optional = { "why", "ended" } },
  confirmations = { key = { "event_id" }, optional = { "email", "payment_id", "payment_key" } },
}
