--- What the environment says, with the names of the guide.
local env = require "sipeat.env"

return {
  topic = env.get("KAFKA_TOPIC", "invoices"),
  group = env.get("KAFKA_GROUP_ID", "invoice-processor"),
  database = env.secret "DATABASE_URL" or "invoices.db", -- postgres://…, or a file
  sales = env.get("SLACK_SALES_CHANNEL", "#sales"),
  engineering = env.get("SLACK_ENGINEERING_CHANNEL", "#engineering"),
}
