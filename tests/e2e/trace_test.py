"""Traces: one of them from a request through Kafka, a chain and out over HTTP, whatever the collector is like."""

import json
import re
import unittest

from support import harness
from support.collector import Collector
from support.fake_service import FakeService, Reply
from support.harness import get, wait_for

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ORDERS = """
local sipeat = require "sipeat"
local env, http, log = require "sipeat.env", require "sipeat.http", require("sipeat.log").new "shop"
local trace = require "sipeat.trace"
local db = require("sipeat.sql").open ":memory:"
http.route("POST /orders", function(req)
  assert(sipeat.publish("order.created", { n = 1 }, { topic = "orders", id = "order-1" }))
  return { status = 202 }
end)
sipeat.flow { topic = "orders", group = "shop", on = { ["order.created"] = sipeat.chain "order" {
  { "charge", effect = "idempotent", run = function(_, ctx)
    local answer = assert(http.post(env.get "BANK" .. "/charges?card=4242", { json = { key = ctx.key } }))
    return { status = answer.status }
  end },
  { "note", effect = "repeatable", run = function(_, ctx)
    assert(db:script "create table if not exists orders (id text)")
    assert(db:exec("insert into orders values (?)", "secret-id"))
    log:info "noted"
    return ctx:emit("paid", "order-1", { type = "order.paid", id = "order-1-paid", data = { n = 2 } })
  end },
} } }
sipeat.flow { topic = "paid", group = "mail", on = { ["order.paid"] = function()
  return trace.span("write letter", { pages = 2 }, function(span)
    span:event("stamped", { value = 1.5 })
    return { done = true }
  end)
end } }
"""


class Bank(FakeService):
    """Answers every request and keeps their headers."""

    def __init__(self):
        self.headers = []
        super().__init__()

    def reply(self, request):
        with self.lock:
            self.headers.append(request.headers)
        return Reply(200, {"ok": True})


class Traces(harness.Case):
    def setUp(self):
        super().setUp()
        self.collector = self.enterContext(Collector())
        self.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.url, "OTEL_SERVICE_NAME": "shop",
                    "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_HEADERS": "x-team=sales%20team"}

    def run_script(self, text, *arguments, **env):
        process = self.start("run", self.script(text), "--no-watch", "--log-format", "json", *arguments,
                             env={**self.env, **env})
        self.url = "http://" + re.search(r"http://([0-9.]+:\d+)", process.wait_log("listening on"))[1]
        process.wait_log(": version ")
        return process

    def span(self, name, process):
        def look():
            self.assertEqual(self.collector.refused, [])
            return self.collector.spans(name)
        return process.until(look, lambda: f"the span {name}: {self.collector.spans()}")[0]


class WholeWay(Traces):
    def test_a_request_is_one_trace_through_kafka_a_chain_and_out_again(self):
        bank = self.enterContext(Bank())
        process = self.run_script(ORDERS, BANK=bank.url)
        status, _ = get(self.url + "/orders", body=b"{}", traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=1,b=2")
        self.assertEqual(status, 202)
        letter = self.span("write letter", process)
        names = ["POST /orders", "send orders", "process orders", "step charge", "POST", "step note", "CREATE",
                 "INSERT orders", "send paid", "process paid"]
        spans = {name: self.span(name, process) for name in names}
        above = {"POST /orders": None, "send orders": "POST /orders", "process orders": "send orders",
                 "step charge": "process orders", "POST": "step charge", "step note": "process orders",
                 "CREATE": "step note", "INSERT orders": "step note", "send paid": "step note",
                 "process paid": "send paid"}
        for name, parent in above.items():
            self.assertEqual(spans[name].trace, TRACE, name)
            self.assertEqual(spans[name].parent, spans[parent].id if parent else PARENT, name)
            self.assertEqual(spans[name].state, "a=1,b=2", name)
            self.assertEqual(spans[name].status, {}, name)
        self.assertEqual((letter.trace, letter.parent), (TRACE, spans["process paid"].id))
        self.assertEqual(letter.attributes, {"pages": 2})
        self.assertEqual(letter.events, [("stamped", {"value": 1.5})])
        self.look_at(spans)
        self.assertEqual(bank.headers[0]["traceparent"], f"00-{TRACE}-{spans['POST'].id}-01")
        self.assertEqual(bank.headers[0]["tracestate"], "a=1,b=2")
        noted = next(line for line in process.lines if line["message"] == "noted")
        self.assertEqual((noted["trace_id"], noted["span_id"]), (TRACE, spans["step note"].id))
        self.assertEqual(self.collector.headers[0]["x-team"], "sales team")
        self.assertEqual(process.stop(), 0)

    def look_at(self, spans):
        kinds = {"POST /orders": SERVER, "send orders": PRODUCER, "process orders": CONSUMER, "POST": CLIENT,
                 "INSERT orders": CLIENT}
        self.assertEqual({name: spans[name].kind for name in kinds}, kinds)
        handled = spans["process orders"].attributes
        self.assertEqual(handled["messaging.system"], "kafka")
        self.assertEqual(handled["messaging.destination.name"], "orders")
        self.assertEqual(handled["messaging.consumer.group.name"], "shop")
        self.assertEqual(handled["messaging.kafka.offset"], 0)
        self.assertEqual(handled["messaging.message.id"], "order-1")
        self.assertEqual(handled["messaging.destination.partition.id"],
                         spans["send orders"].attributes["messaging.destination.partition.id"])
        request = spans["POST"].attributes
        self.assertRegex(request["url.full"], r"^http://127.0.0.1:\d+/charges$")
        self.assertEqual(request["http.response.status_code"], 200)
        self.assertEqual(spans["POST /orders"].attributes["http.response.status_code"], 202)
        self.assertEqual(spans["INSERT orders"].attributes["db.query.text"], "insert into orders values (?)")
        self.assertEqual(spans["process orders"].resource["service.name"], "shop")
        self.assertNotIn("secret-id", json.dumps([span.attributes for span in self.collector.spans()]))
        self.assertNotIn("4242", json.dumps([span.attributes for span in self.collector.spans()]))


if __name__ == "__main__":
    harness.main()
