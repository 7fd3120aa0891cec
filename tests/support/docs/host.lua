--- A script around what a test made: docs_flow gives it the options of its flow.
require("sipeat").flow(require("sipeat.testing").docs_flow)
