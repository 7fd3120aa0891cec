"""Traces: one of them from a request through Kafka, a chain and out over HTTP, whatever the collector is like."""

import json
import re

from support import harness
from support.collector import Collector
from support.fake_service import FakeService, Reply
from support.harness import get, wait_for
from support.kafka import Kafka

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
    local answer = assert(http.post(env.get "BANK" .. "/charges?card=4111111111111111", { json = { key = ctx.key } }))
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
        self.assertNotIn("41111111", json.dumps([span.attributes for span in self.collector.spans()]))


LETTERS = """
local sipeat = require "sipeat"
local env, sys = require "sipeat.env", require "sipeat.core.sys"
sipeat.flow { topic = "letters", group = "post", retry = { attempts = 2, backoff = { "10ms", "20ms" } }, on = {
  ["letter.sent"] = function()
    if not sys.read_file(env.get "FIXED") then
      error "no stamp"
    end
  end,
} }
"""
SLEEPER = """
local sipeat = require "sipeat"
local env, sys = require "sipeat.env", require "sipeat.core.sys"
sipeat.flow { topic = "cups", group = "tea", on = { ["cup.ordered"] = sipeat.chain "tea" {
  { "boil", effect = "repeatable", run = function() return { hot = true } end },
  { "brew", effect = "repeatable", run = function(_, ctx)
    while not sys.read_file(env.get "BREWED") do
      assert(ctx:sleep "50ms")
    end
    return { done = true }
  end },
} } }
"""


class Kept(Traces):
    """An event goes on in its trace wherever it was kept."""

    def publish(self, kind, topic, **env):
        done = self.run_sipeat("publish", kind, "--topic", topic, "--id", "e1", "--data", "{}", env=env)
        self.assertEqual(done.returncode, 0, done.log)

    def test_attempts_a_dead_letter_and_its_replay_are_one_trace(self):
        fixed = self.dir / "fixed"
        process = self.run_script(LETTERS, FIXED=fixed)
        self.publish("letter.sent", "letters")
        process.wait_log("dead letter: ")
        process.until(lambda: len(self.collector.spans("process letters")) == 2, "two attempts")
        first, second = sorted(self.collector.spans("process letters"), key=lambda span: span.start)
        self.assertEqual((first.parent, second.parent, first.trace), (None, first.id, second.trace))
        self.assertEqual([span.attributes["sipeat.outcome"] for span in (first, second)], ["again", "dead"])
        for span in (first, second):
            self.assertEqual(span.status["code"], 2)
            self.assertIn("no stamp", span.status["message"])
            self.assertEqual(span.attributes["error.type"], "SCRIPT_ERROR")
            self.assertIn("script.lua", dict(span.events)["exception"]["exception.stacktrace"])
        fixed.touch()
        wait_for(lambda: "1 replayed" in self.run_sipeat("dlq", "replay", "letters-dlt").log, "a replay")
        process.until(lambda: len(self.collector.spans("process letters")) == 3, "the replay's attempt")
        third = max(self.collector.spans("process letters"), key=lambda span: span.start)
        self.assertEqual((third.trace, third.parent, third.status), (first.trace, second.id, {}))
        self.assertEqual(self.collector.refused, [])

    def test_a_chain_that_was_killed_goes_on_in_its_trace(self):
        brewed = self.dir / "brewed"
        with Kafka() as kafka:
            env = {"KAFKA_BROKERS": kafka.address, "SIPEAT_JOURNAL": self.dir / "journal.db", "BREWED": brewed}
            made = self.run_sipeat("topic", "create", "cups", env=env)
            self.assertEqual(made.returncode, 0, made.log)
            process = self.run_script(SLEEPER, **env)
            self.publish("cup.ordered", "cups", KAFKA_BROKERS=kafka.address)
            boil = self.span("step boil", process)
            process.popen.kill()
            process.wait()
            brewed.touch()
            process = self.run_script(SLEEPER, **env)
            brew = self.span("step brew", process)
            process.until(lambda: self.collector.spans("process cups"), "the run that went on")
            again = self.collector.spans("process cups")[0]
            self.assertEqual({boil.trace, brew.trace, again.trace}, {boil.trace})
            self.assertEqual((brew.parent, again.parent), (again.id, boil.parent))
            self.assertEqual(len(self.collector.spans("step boil")), 1)
            process.popen.kill()


PLAIN = """
local sipeat = require "sipeat"
local failed = {}
sipeat.flow { topic = "plain", group = "plain", retry = { attempts = 2, backoff = { "10ms", "20ms" } },
  budget = { instructions = 100000 }, on = {
  ["plain.do"] = function(event, ctx)
    return ctx:emit("copies", event.key, { id = event.id .. "-copy", type = "plain.done", data = {} })
  end,
  ["plain.fail"] = function(event)
    if not failed[event.id] then
      failed[event.id] = true
      error "not yet"
    end
  end,
  ["plain.results"] = function() return { done = true } end,
  ["plain.forever"] = function() while true do end end,
} }
sipeat.flow { topic = "copies", group = "copies", on = { ["plain.done"] = function(event, ctx)
  local outer = ctx.trace
  sipeat.trace.span("inside", {}, function() assert(ctx:emit("ends", event.key, "x")) end)
  ctx:on_end(function() end)
  return sipeat.trace.current() == outer
end } }
"""


class Plain(Traces):
    """An event that needs no job has spans that are made in C: nobody can tell them from others."""

    def test_they_say_what_others_say(self):
        process = self.run_script(PLAIN)
        lines = [{"type": "plain.do", "id": "e1", "key": "k1"}, {"type": "plain.fail", "id": "e2"},
                 {"type": "plain.results", "id": "e3"}, {"type": "plain.forever", "id": "e4"}]
        path = self.dir / "events.jsonl"
        path.write_text("".join(json.dumps({"topic": "plain", "data": {}, **line}) + "\n" for line in lines))
        done = self.run_sipeat("publish", "--file", path, env={})
        self.assertEqual(done.returncode, 0, done.log)
        process.until(lambda: len(self.collector.spans("process plain")) == 5, self.collector.spans)
        self.span("process copies", process)
        self.assertEqual(self.collector.refused, [])
        spans = {(span.attributes["messaging.message.id"], span.attributes["sipeat.attempt"]): span
                 for span in self.collector.spans("process plain")}
        self.alike(spans)
        self.failures(spans)
        self.below(spans["e1", 1])

    def alike(self, spans):
        for number, name in enumerate(["plain.do", "plain.fail", "plain.results"], 1):
            last = spans[f"e{number}", 2 if name == "plain.fail" else 1]
            partition, size, offset = (last.attributes["messaging." + field] for field in (
                "destination.partition.id", "message.body.size", "kafka.offset"))
            self.assertRegex(f"{partition} {size} {offset}", r"^\d+ \d+ \d+$")
            self.assertEqual((last.kind, last.status, last.events), (CONSUMER, {}, []))
            self.assertEqual(last.attributes, {
                "messaging.system": "kafka", "messaging.operation.name": "process",
                "messaging.operation.type": "process", "messaging.destination.name": "plain",
                "messaging.destination.partition.id": partition, "messaging.consumer.group.name": "plain",
                "messaging.kafka.offset": offset, "messaging.message.id": f"e{number}",
                "messaging.message.body.size": size, "sipeat.event.type": name,
                "sipeat.attempt": 2 if name == "plain.fail" else 1, "sipeat.outcome": "done"})

    def failures(self, spans):
        first, second = spans["e2", 1], spans["e2", 2]
        self.assertEqual((first.parent, second.parent, first.trace), (None, first.id, second.trace))
        self.assertEqual(first.attributes["sipeat.outcome"], "again")
        self.assertIn("not yet", first.status["message"])
        self.assertEqual(spans["e4", 1].attributes["error.type"], "OVER_BUDGET")
        self.assertEqual(spans["e4", 1].status["code"], 2)

    def below(self, plain):
        send, = self.collector.spans("send copies")
        copy, inside = self.collector.spans("process copies")[0], self.collector.spans("inside")[0]
        self.assertEqual((plain.parent, send.trace, send.parent), (None, plain.trace, plain.id))
        self.assertEqual(send.attributes, {
            "messaging.system": "kafka", "messaging.operation.name": "send", "messaging.operation.type": "send",
            "messaging.destination.name": "copies"})
        self.assertEqual((copy.trace, copy.parent, inside.parent), (plain.trace, send.id, copy.id))
        self.assertEqual(self.collector.spans("send ends")[0].parent, inside.id)
        self.assertEqual(copy.attributes["sipeat.outcome"], "done")


COUNTED = """
local sipeat = require "sipeat"
local n = 0
sipeat.flow { topic = "many", group = "count", on = { ["*"] = function() n = n + 1 end } }
sipeat.http.route("GET /count", function() return { json = { n = n } } end)
"""


class BadDays(Traces):
    def publish(self, count):
        line = json.dumps({"type": "counted", "topic": "many", "data": {}, "headers": self.headers})
        path = self.dir / "events.jsonl"
        path.write_text((line + "\n") * count)
        done = self.run_sipeat("publish", "--file", path, env={})
        self.assertEqual(done.returncode, 0, done.log)

    def setUp(self):
        super().setUp()
        self.headers = {}

    def count(self, process, wanted):
        process.until(lambda: json.loads(get(self.url + "/count")[1])["n"] >= wanted, f"{wanted} events")

    def test_spans_come_once_the_collector_takes_them_again(self):
        process = self.run_script(COUNTED)
        self.collector.next("limited", "unavailable", "dropped", "garbage")
        self.publish(5)
        self.count(process, 5)
        process.until(lambda: len(self.collector.spans("process many")) == 5, "all spans", deadline=60)
        self.collector.next("partial")
        self.publish(1)
        process.wait_log("the collector has rejected 1 spans: too old")
        self.assertEqual(self.collector.refused, [])
        self.assertEqual(len(self.collector.spans("process many")), 6)
        self.refused_for_good(process)

    def refused_for_good(self, process):
        """It is dropped and counted."""
        for answer in ("broken", "refused"):
            before = self.collector.requests
            self.collector.next(answer)
            self.publish(1)
            process.until(lambda n=before: self.collector.requests > n, "a request")
        line = 'sipeat_batch_items_total{name="otlp",outcome="rejected"} 2'
        process.until(lambda: line in get(self.url + "/metrics")[1].decode(),
                      lambda: get(self.url + "/metrics")[1].decode())
        self.assertEqual(len(self.collector.spans("process many")), 6)

    def test_events_do_not_wait_for_a_collector_that_hangs(self):
        process = self.run_script(COUNTED, "--drain", "1s", OTEL_BSP_MAX_QUEUE_SIZE="20")
        self.collector.next("hung")
        self.publish(100)
        self.count(process, 100)
        metric = re.compile(r'sipeat_batch_items_total{name="otlp",outcome="full"} (\d+)')
        process.until(lambda: int(metric.search(get(self.url + "/metrics")[1].decode())[1]) >= 80,
                      "80 spans are dropped, and those of the requests that asked")
        self.assertEqual(process.stop(), 0)

    def test_malformed_contexts_are_replaced_and_those_that_say_no_are_followed(self):
        process = self.run_script(COUNTED)
        self.headers = {"traceparent": "00-" + "0" * 32 + "-zz-01", "tracestate": "\u0001"}
        self.publish(1)
        span = self.span("process many", process)
        self.assertEqual((span.parent, span.state), (None, None))
        self.headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        self.publish(1)
        self.headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "no state at all"}
        self.publish(1)
        process.until(lambda: len(self.collector.spans("process many")) == 2, "the second span")
        second = self.collector.spans("process many")[1]
        self.assertEqual((second.trace, second.parent, second.state), (TRACE, PARENT, None))
        refused = self.run_sipeat("run", "script.lua", "--trace-ratio", "2", env={})
        self.assertEqual(refused.returncode, 2)
        self.assertIn("2 is no ratio from 0 to 1", refused.log + refused.output)

    def test_a_ratio_of_nothing_records_nothing_but_what_others_chose(self):
        process = self.run_script(COUNTED, "--trace-ratio", "0")
        self.publish(20)
        self.headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        self.publish(1)
        self.assertEqual(self.span("process many", process).trace, TRACE)
        self.count(process, 21)
        self.assertEqual(len(self.collector.spans("process many")), 1)


if __name__ == "__main__":
    harness.main()
