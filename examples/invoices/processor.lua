--- The processor of invoice events, in a process of its own: customer mail, analytics, follow-up
--- tasks, accounting, Slack, audit log.
--
-- KAFKA_BROKER=localhost:9092 sipeat-run --http off examples/invoices/processor.lua
require("app.store").open()
require("app.processor").start()
