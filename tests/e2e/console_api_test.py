"""The console's API (docs/console-api.md) against Apache Kafka and against the embedded broker."""

import contextlib
import http.client
import http.cookiejar
import json
import os
import pathlib
import re
import threading
import urllib.error
import urllib.parse
import urllib.request

from support import harness, kcat
from support.console import Api, token
from support.harness import get, save, wait_for
from support.kafka import Kafka

SOAK = os.environ.get("SIPEAT_SOAK") == "1"
MESSAGES = 1_000_000 if SOAK else 20_000
SCRIPT_TAG = "<script>alert('x')</script>"
ORDERS = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "orders", group = "orders-flow", retry = { attempts = 1 }, dead_letter = true,
  on = { ["order.created"] = function(event, ctx)
    if event.data.bad then
      return nil, sipeat.failure.permanent("no stock for ada@example.org", "NO_STOCK")
    end
    ctx:sleep "3ms"
  end },
}
"""
CHAIN = """
local sipeat = require "sipeat"
sipeat.flow { topic = "requests", group = "sales", on = { ["request.created"] = sipeat.chain "drink" {
  { "payment", effect = "idempotent", run = function() return { id = "pi_1" } end, undo = function() return true end },
  { "dispense", effect = "at_most_once", run = function() return nil, "no answer", "ETIMEDOUT" end },
} } }
sipeat.vending.attach { machine = "vm-1", settings = { slots = { [1] = 4 } } }
local guarded = sipeat.breaker { name = "stripe" } (function() return true end)
guarded()
"""


def address(process):
    return re.search(r"http://[0-9.]+:\d+", process.wait_log("listening on "))[0]


class Console(harness.Case):
    def begin(self, script, *arguments, env=None):
        """A program with the console, and an Api of each role in self.admin, .operator and .viewer."""
        state = self.dir / "state"
        self.process = self.start("run", self.script(script), "--state", state, *arguments, env=env)
        self.addCleanup(self.process.stop)  # so that its groups are free at once
        self.process.wait_runs()
        self.url = address(self.process)
        for role in ("admin", "operator", "viewer"):
            setattr(self, role, Api(self.url, token(state, role)))
        return self.process

    def refused(self, status, code, method, path, body=None, api=None):
        got, problem = (api or self.admin).call(method, path, body)
        self.assertEqual((got, problem.get("code")), (status, code), problem)
        return problem["detail"]


class WithKafka(Console):
    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def begin(self, script=ORDERS, *arguments, **more):
        return super().begin(script, "-b", self.kafka.address, *arguments, **more)

    def produce(self, topic, **message):
        return self.operator.post(f"topics/{topic}/messages", message, 201)

    def test_topics_from_their_making_to_their_end(self):
        self.begin()
        made = self.operator.post("topics", {"name": "made", "partitions": 3,
                                             "configuration": {"retention.ms": 86400000}}, 201)
        self.assertEqual(made, {"name": "made", "partitions": 3})
        self.refused(409, "TOPIC_ALREADY_EXISTS", "POST", "topics", {"name": "made"})
        self.refused(400, "BAD_REQUEST", "POST", "topics", {"name": "no such name"})
        self.assertIn("partitions", self.refused(400, "BAD_REQUEST", "POST", "topics", {"name": "x", "partitions": -1}))
        listed = {one["name"]: one for one in self.viewer.get("topics")["topics"]}
        self.assertEqual((listed["made"]["partitions"], listed["made"]["messages"]), (3, 0))
        self.assertIsNone(listed["made"]["size_bytes"])
        self.assertTrue(any("sizes" in text for text in self.viewer.get("topics")["limits"]))
        self.produce("made", key="k", value="1")
        shown = self.viewer.get("topics/made")
        self.assertEqual(sum(one["messages"] for one in shown["partitions"]), 1)
        retention = next(one for one in shown["configuration"] if one["name"] == "retention.ms")
        self.assertEqual((retention["value"], retention["source"], retention["default"]), ("86400000", "topic", False))
        self.refused(403, "FORBIDDEN", "DELETE", "topics/made", {"confirm": "made"}, self.operator)
        self.refused(409, "CONFIRM", "DELETE", "topics/made", {"confirm": "mad"})
        self.assertEqual(self.admin.call("DELETE", "topics/made", {"confirm": "made"}), (200, {"deleted": True}))
        self.refused(404, "NOT_FOUND", "GET", "topics/made")
        self.refused(404, "NOT_FOUND", "DELETE", "topics/made", {"confirm": "made"})
        self.refused(404, "NOT_FOUND", "POST", "topics/made/messages", {"value": "x"})
        told = [(row["what"], row["fields"].get("name")) for row in self.admin.get("audit")["rows"]]
        self.assertEqual(told[:2], [("topic.delete", "made"), ("message.produce", None)])
        self.assertIn(("topic.create", "made"), told)
        brokers = self.viewer.get("brokers")
        self.assertEqual([(one["id"], one["controller"]) for one in brokers["brokers"]], [(1, True)])
        self.assertTrue(any(one["name"] == "log.dirs" for one in self.viewer.get("brokers/1")["configuration"]))
        self.refused(404, "NOT_FOUND", "GET", "brokers/7")

    def test_nothing_is_open_and_each_role_has_its_own(self):
        self.begin()
        self.assertEqual(get(self.url + "/console/api/topics")[0], 401)
        for path in ("topics", "groups/x/offsets", "letters/x-dlt/replay", "chains/1/undo"):
            self.refused(403, "FORBIDDEN", "POST", path, {}, self.viewer)
        self.refused(403, "FORBIDDEN", "POST", "scripts/reload", {}, self.operator)
        self.refused(403, "FORBIDDEN", "GET", "audit", api=self.operator)
        session = self.viewer.get("session")
        self.assertEqual((session["user"]["role"], session["user"]["via"], session["csrf"]), ("viewer", "token", None))
        self.assertEqual((session["program"]["mode"], session["cluster"]["embedded"]), ("run", False))
        self.assertFalse(session["features"]["audit"])

    def fill(self, topic):
        """MESSAGES in four partitions: every 1,000th is gold, every 7th has another type."""
        self.operator.post("topics", {"name": topic, "partitions": 4}, 201)
        for rest in range(7):
            kind = b"order.cancelled" if rest == 0 else b"order.created"
            kcat.write(self.kafka.address, topic, [(f"o-{n}", json.dumps(
                {"id": f"o-{n}", "customer": {"tier": "gold" if n % 1000 == 0 else "basic"}, "total": n % 997,
                 "items": [{"sku": f"s{n % 13}"}]})) for n in range(rest, MESSAGES, 7)], [("event-type", kind)])

    def test_a_large_topic_is_searched_and_paged_without_being_loaded(self):
        self.begin()
        self.fill("many")
        memory = self.process.rss_mb()
        page, done = self.viewer.messages("many")
        self.assertEqual((len(page), done["reason"], done["total"]), (50, "limit", MESSAGES))
        self.assertLess(done["scanned"], 1000)
        at = [one["timestamp"] for one in page]
        self.assertEqual(at, sorted(at, reverse=True))
        gold, done = self.viewer.messages("many", json="customer.tier=gold", limit=1000)
        self.assertEqual({one["key"] for one in gold}, {f"o-{n}" for n in range(0, MESSAGES, 1000)})
        self.assertEqual((done["scanned"], done["reason"], done["cursor"]), (MESSAGES, "end", None))
        again, _ = self.viewer.messages("many", json="customer.tier=gold", limit=1000, **{"from": "oldest"})
        self.assertEqual({one["key"] for one in again}, {one["key"] for one in gold})
        found, _ = self.viewer.messages("many", json=["total>990", "items[0].sku=s3"],
                                        header="event-type=order.cancelled", limit=1000)
        wanted = {f"o-{n}" for n in range(0, MESSAGES, 7) if n % 997 > 990 and n % 13 == 3}
        self.assertEqual({one["key"] for one in found} - wanted, set())
        self.assertEqual(len(found), min(len(wanted), 1000))
        self.assertEqual([one["key"] for one in self.viewer.messages("many", key="o-777")[0]], ["o-777"])
        found, _ = self.viewer.messages("many", text='"o-1234"', **{"from": "oldest"})
        self.assertEqual([one["key"] for one in found], ["o-1234"])
        self.assertLess(self.process.rss_mb() - memory, 250 if SOAK else 150)

    def test_pages_have_each_message_once_whichever_way(self):
        self.begin()
        self.operator.post("topics", {"name": "pages", "partitions": 3}, 201)
        kcat.write(self.kafka.address, "pages", [(f"k{n}", f'{{"n": {n}}}') for n in range(500)])
        places = {(one["partition"], one["offset"]) for one in self.pages("pages", limit=500)}
        self.assertEqual(len(places), 500)
        for more in ({"from": "oldest"}, {"from": "newest"}, {"from": "newest", "json": "n>=0"},
                     {"from": "oldest", "json": "n>-1"}, {"from": "newest", "partition": "1,2"}):
            seen = self.pages("pages", limit=37, **more)
            wanted = {place for place in places if "partition" not in more or place[0] != 0}
            self.assertEqual(sorted((one["partition"], one["offset"]) for one in seen), sorted(wanted), more)
            step = 1 if more["from"] == "oldest" else -1
            for partition in range(3):
                offsets = [one["offset"] for one in seen if one["partition"] == partition]
                self.assertEqual(offsets, sorted(offsets, reverse=step < 0), more)

    def pages(self, topic, **query):
        seen, cursor = [], None
        for _ in range(100):
            found, done = self.viewer.messages(topic, **query, **({"cursor": cursor} if cursor else {}))
            seen += found
            self.assertLessEqual(len(found), query["limit"])
            cursor = done["cursor"]
            if cursor is None:
                return seen
        self.fail("the pages do not end")

    def test_what_a_message_carries_stays_text(self):
        self.begin()
        self.operator.post("topics", {"name": "hostile", "partitions": 1}, 201)
        self.produce("hostile", key=SCRIPT_TAG, value=SCRIPT_TAG, headers=[{"name": SCRIPT_TAG, "value": SCRIPT_TAG}])
        self.produce("hostile", key_base64="/w==", value_base64="AP8=")
        self.produce("hostile", key="gone")
        self.produce("hostile", key="lines", value="event: done\ndata: {}\n\n")
        self.produce("hostile", key="long", value="é" * 20000)
        found, _ = self.viewer.messages("hostile", **{"from": "oldest"})
        first, second, third, fourth, fifth = found
        self.assertEqual((first["key"], first["value"], first["headers"]),
                         (SCRIPT_TAG, SCRIPT_TAG, [{"name": SCRIPT_TAG, "value": SCRIPT_TAG}]))
        self.assertEqual((second["key_base64"], second["value_base64"]), ("/w==", "AP8="))
        self.assertEqual((third["key"], third["value"]), ("gone", None))
        self.assertEqual(fourth["value"], "event: done\ndata: {}\n\n")
        self.assertEqual((fifth["value"], fifth["value_cut"], fifth["value_bytes"]), ("é" * 8192, True, 40000))
        self.assertEqual(self.viewer.get("topics/hostile/messages/0/4")["value"], "é" * 20000)
        for path, kind in (("topics/hostile/messages/0/0", "application/json"),
                           ("topics/hostile/messages", "text/event-stream")):
            with self.viewer.open("GET", path) as answer:
                self.assertEqual(answer.headers["content-type"], kind)
                self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        with self.assertRaises(Exception) as caught:
            self.viewer.open("GET", "topics/" + urllib.parse.quote(SCRIPT_TAG, safe=""))
        with caught.exception as answer:
            self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_what_is_asked_wrongly_is_told(self):
        self.begin()
        self.operator.post("topics", {"name": "asked", "partitions": 2}, 201)
        for query, part in (("limit=0", "limit"), ("limit=1001", "1000"), ("from=yesterday", "from"), ("nix=1", "nix"),
                            ("json=%5B", "path"), ("offset=3", "partition"), ("partition=x", "partition"),
                            ("until=1", "until"), ("header=" + "&header=".join("abcdefghijklmnopq"),
                                                                          "conditions")):
            detail = self.refused(400, "BAD_REQUEST", "GET", "topics/asked/messages?" + query)
            self.assertIn(part, detail)
        for query, code in (("partition=7", "BAD_REQUEST"), ("cursor=zzz", "BAD_REQUEST")):
            name, problem, _ = list(self.viewer.stream("topics/asked/messages?" + query))[-1]
            self.assertEqual((name, problem["code"]), ("problem", code))
        name, problem, _ = list(self.viewer.stream("topics/nowhere/messages"))[-1]
        self.assertEqual((name, problem["code"]), ("problem", "UNKNOWN_TOPIC_OR_PART"))
        self.refused(404, "NOT_FOUND", "GET", "topics/asked/messages/0/0")
        self.refused(400, "BAD_REQUEST", "GET", "topics/asked/messages/0/x")

    def test_times_and_offsets_say_where_to_begin(self):
        self.begin()
        self.operator.post("topics", {"name": "times", "partitions": 1}, 201)
        for n in range(10):
            self.produce("times", value=str(n), timestamp=1_700_000_000_000 + n * 60_000)
        at = {n: f"2023-11-14T22:{13 + n}:20Z" for n in range(10)}

        def values(**query):
            return [one["value"] for one in self.viewer.messages("times", **query)[0]]
        self.assertEqual(values(**{"from": at[6]}), ["6", "7", "8", "9"])
        self.assertEqual(values(**{"from": at[6], "until": at[8]}), ["6", "7"])
        self.assertEqual(values(until=at[2]), ["1", "0"])
        self.assertEqual(values(**{"from": "1h"}), [])
        self.assertEqual(values(offset=8, partition=0), ["8", "9"])

    def test_a_tail_shows_what_comes_and_ends_with_its_client(self):
        self.begin()
        self.operator.post("topics", {"name": "tail", "partitions": 2}, 201)
        self.produce("tail", key="old", value="before")
        events = self.viewer.stream("topics/tail/messages", tail=1, key="new")
        self.assertEqual(next(events)[0], "progress")
        self.produce("tail", key="other", value="not this")
        self.produce("tail", key="new", value="after")
        message = next(data for name, data, _ in events if name == "message")
        self.assertEqual((message["key"], message["value"]), ("new", "after"))
        events.close()
        streams = []
        for _ in range(16):  # as many as there may be: each client that left has made room
            wait_for(lambda: self.opened(streams), "room for another stream")
        self.refused(429, "TOO_MANY", "GET", "topics/tail/messages?tail=1")
        streams.pop().close()
        wait_for(lambda: self.opened(streams), "the place of the one that left")
        for stream in streams:
            stream.close()

    def opened(self, streams):
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=20)
        connection.request("GET", "/console/api/topics/tail/messages?tail=1",
                           headers={"Authorization": f"Bearer {self.viewer.secret}"})
        if connection.getresponse().status == 200:
            streams.append(connection)
            return True
        connection.close()
        return False

    def test_a_search_whose_client_has_left_reads_no_further(self):
        self.begin()
        self.operator.post("topics", {"name": "left", "partitions": 1}, 201)
        kcat.write(self.kafka.address, "left", [(f"k{n}", "x" * 16000) for n in range(600)])
        idle = self.threads()
        left = []  # each waits for its client in the middle: nobody reads the finds
        for _ in range(8):
            left.append(self.viewer.open("GET", "topics/left/messages?limit=1000&from=oldest&key~=k"))
            self.assertEqual(left[-1].readline(), b"retry: 3000\n")
        wait_for(lambda: self.threads() >= idle + 8, "a reader for each")
        self.refused(429, "TOO_MANY", "GET", "topics/left/messages")
        for answer in left:
            answer.close()
        wait_for(lambda: self.threads() <= idle, "the end of the readers")
        self.assertEqual(len(self.viewer.messages("left", key="k7")[0]), 1)

    def threads(self):
        """librdkafka's, of the process."""
        count = 0
        for task in pathlib.Path(f"/proc/{self.process.popen.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                count += (task / "comm").read_text().startswith("rdk:main")
        return count

    def test_groups_tell_members_and_lag_and_are_moved(self):
        self.kafka_topic("orders", 2)
        self.begin()
        wait_for(lambda: get(self.url + "/ready")[0] == 200, "ready")
        self.produce("orders", key="a", value=json.dumps({"id": "1", "type": "order.created", "data": {}}))
        group = wait_for(lambda: self.shown("orders-flow", lambda one: one["topics"] and one["lag"] == 0), "no lag")
        self.assertEqual((group["state"], group["ours"], len(group["members"])), ("Stable", True, 1))
        self.assertEqual(len(group["members"][0]["partitions"]), 2)
        self.assertEqual({one["member"] for one in group["topics"][0]["partitions"]}, {group["members"][0]["id"]})
        self.assertTrue(group["history"]["points"])
        detail = self.refused(409, "BUSY", "POST", "groups/orders-flow/offsets",
                              {"topic": "orders", "to": "end", "confirm": "orders-flow"})
        self.assertIn("running members", detail)
        idle = {"topic": "orders", "to": "beginning", "dry_run": True}
        plan = self.operator.post("groups/nobody/offsets", {**idle, "to": "end"})
        self.assertEqual([one["target"] - one["high"] for one in plan["offsets"]], [0, 0])
        self.refused(404, "NOT_FOUND", "GET", "groups/nobody")
        self.refused(409, "CONFIRM", "POST", "groups/nobody/offsets", {"topic": "orders", "to": "end"})
        moved = self.operator.post("groups/nobody/offsets", {"topic": "orders", "to": "end", "confirm": "nobody"})
        self.assertFalse(moved["dry_run"])
        shown = self.viewer.get("groups/nobody")
        self.assertEqual((shown["lag"], shown["state"]), (0, "Empty"))
        listed = {one["name"]: one for one in self.viewer.get("groups")["groups"]}
        self.assertEqual(listed["orders-flow"]["topics"], ["orders"])
        self.assertEqual(self.viewer.get("topics/orders")["groups"][0]["name"], "nobody")
        self.refused(400, "BAD_REQUEST", "POST", "groups/nobody/offsets", {"topic": "orders", "to": "soon"})
        self.refused(404, "NOT_FOUND", "POST", "groups/nobody/offsets", {**idle, "topic": "nowhere"})

    def shown(self, name, fits):
        status, group = self.viewer.call("GET", f"groups/{name}")
        return group if status == 200 and fits(group) else None

    def kafka_topic(self, name, partitions):
        self.run_sipeat("topic", "create", name, "--partitions", partitions, "-b", self.kafka.address)

    def test_a_dead_letter_is_seen_edited_and_replayed(self):
        self.kafka_topic("orders", 2)
        self.begin()
        bad = {"id": "e-bad", "type": "order.created", "data": {"bad": True, "email": "ada@example.org"}}
        before = {one["topic"]: one["letters"] for one in self.viewer.get("letters")["topics"]}.get("orders-dlt", 0)
        self.assertEqual(before, 0)
        self.produce("orders", key="k", value=json.dumps(bad), headers=[{"name": "x", "value": "1"}])
        topic = wait_for(lambda: next((one for one in self.viewer.get("letters")["topics"]
                                       if one["topic"] == "orders-dlt" and one["letters"]), None), "a letter")
        self.assertEqual((topic["reasons"], topic["types"], topic["counted"]),
                         ({"NO_STOCK": 1}, {"order.created": 1}, 1))
        letter = self.operator.get("letters/orders-dlt?reason=NO_STOCK")["letters"][0]
        self.assertEqual((letter["event_id"], letter["original"]["topic"], letter["was_replayed"]),
                         ("e-bad", "orders", False))
        self.assertEqual(self.operator.get("letters/orders-dlt?reason=OTHER")["letters"], [])
        path = f"letters/orders-dlt/{letter['partition']}/{letter['offset']}"
        shown = self.operator.get(path)
        self.assertEqual((json.loads(shown["value"]), shown["original_headers"]), (bad, [{"name": "x", "value": "1"}]))
        self.assertIn("no stock for ada@example.org", shown["stacktrace"])
        masked = self.viewer.get(path)
        self.assertNotIn("ada@example.org", json.dumps(masked))
        self.assertTrue(masked["masked"])
        tried = self.operator.post(path + "/replay", {"dry_run": True})
        self.assertEqual((tried["outcome"], tried["report"], tried["record"]["topic"]), ("replayed", None, "orders"))
        self.refused(400, "BAD_REQUEST", "POST", path + "/replay", {"edit": {"kay": "x"}})
        good = json.dumps({"id": "e-good", "type": "order.created", "data": {}})
        sent = self.operator.post(path + "/replay", {"edit": {"value": good}})
        self.assertEqual((sent["outcome"], sent["report"]["topic"], sent["record"]["value"]),
                         ("replayed", "orders", good))
        found, _ = self.viewer.messages("orders", text="e-good")
        self.assertEqual(found[0]["headers"][0], {"name": "x", "value": "1"})
        self.assertEqual(self.operator.post(path + "/replay", {})["outcome"], "skipped")
        self.assertTrue(self.operator.get("letters/orders-dlt")["letters"][0]["was_replayed"])
        self.refused(409, "CONFIRM", "POST", "letters/orders-dlt/replay", {"again": True})
        many = self.operator.post("letters/orders-dlt/replay",
                                  {"again": True, "confirm": "orders-dlt", "reason": "NO_STOCK"})
        self.assertEqual((many["replayed"], many["seen"], len(many["letters"])), (1, 1, 1))
        wait_for(lambda: self.viewer.get("letters")["topics"][0]["letters"] == 2, "it fails again")
        self.refused(404, "NOT_FOUND", "GET", "letters/orders-dlt/0/99")
        self.refused(404, "NOT_FOUND", "GET", "letters/orders")
        hits = [data for name, data, _ in self.operator.stream("search", q="e-bad") if name == "hit"]
        self.assertEqual({one["kind"] for one in hits}, {"letter", "message"})
        self.assertEqual([one for one in self.viewer.stream("search", q="ada@example.org")
                          if one[0] == "hit"], [])

    def test_many_tabs_see_the_same_figures(self):
        self.kafka_topic("orders", 2)
        self.begin()
        wait_for(lambda: get(self.url + "/ready")[0] == 200, "ready")
        seen, ready = [], threading.Barrier(9)

        def tab():
            states = {}
            for name, data, _ in self.viewer.stream("events"):
                states[name] = data
                flow = next(iter(states.get("flows", {}).get("flows", [])), {})
                if "lag" in states and not states.get("told"):
                    states["told"] = True
                    ready.wait(30)
                if states.get("told") and flow.get("latency", {}).get("count", 0) >= 20:
                    seen.append(states)
                    return
        tabs = [threading.Thread(target=tab, daemon=True) for _ in range(8)]
        for one in tabs:
            one.start()
        ready.wait(30)
        kcat.write(self.kafka.address, "orders", [(f"k{n}", json.dumps(
            {"id": f"t{n}", "type": "order.created", "data": {}})) for n in range(20)])
        for one in tabs:
            one.join(30)
        self.assertEqual(len(seen), 8)
        for states in seen:
            self.assertEqual(set(states) - {"told"}, {"flows", "lag", "chains", "letters", "machines", "scripts"})
            flow = states["flows"]["flows"][0]
            self.assertEqual((flow["group"], flow["state"]), ("orders-flow", "running"))
            self.assertGreaterEqual(flow["latency"]["p50_ms"], 2)
            self.assertGreaterEqual(flow["latency"]["max_ms"], flow["latency"]["p99_ms"])
            self.assertFalse(states["chains"]["available"])
        only = self.viewer.stream("events", only="machines")
        self.assertEqual(next(only)[0], "machines")
        only.close()
        self.refused(400, "BAD_REQUEST", "GET", "events?only=weather")


    def test_the_console_alone_is_signed_into_by_its_link(self):
        self.kafka_topic("alone", 1)
        process = self.start("console", "--broker", self.kafka.address, "--http", "127.0.0.1:0")
        link = re.search(r"open (http://[0-9.:]+)(/console/sign-in\S+)", process.wait_log("signs in once"))
        self.assertEqual(get(link[1] + "/console/api/topics")[0], 401)
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        with browser.open(link[1] + link[2], timeout=20) as page:
            self.assertEqual(page.url, link[1] + "/console")

        def call(path, body=None, **headers):
            request = urllib.request.Request(f"{link[1]}/console/api/{path}", body, headers)
            try:
                with browser.open(request, timeout=20) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())
        session = call("session")[1]
        self.assertEqual((session["program"]["mode"], session["features"]["flows"]), ("console", False))
        self.assertEqual(call("topics/alone/messages", b'{"value": "x"}')[0], 403)
        self.assertEqual(call("topics/alone/messages", b'{"value": "x"}', **{"x-csrf-token": session["csrf"]})[0], 201)
        self.assertEqual(call("overview")[1]["topics"]["messages"] >= 1, True)
        for area, empty in (("flows", "flows"), ("chains", "runs"), ("machines", "machines"), ("scripts", "versions")):
            told = call(area)[1]
            self.assertEqual((told["available"], told[empty]), (False, []), area)
        self.assertEqual(call("chains/1")[0], 503)
        self.assertEqual(get(link[1] + link[2])[0] // 100, 4)  # the link is used up
        self.assertEqual(process.stop(), 0)

    def test_a_cluster_that_is_down_is_told_soon(self):
        gone = self.start("console", "-b", "127.0.0.1:1", "--http", "127.0.0.1:0")
        link = re.search(r"open (http://[0-9.:]+)(/console/sign-in\S+)", gone.wait_log("signs in once"))
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        browser.open(link[1] + link[2], timeout=20).close()
        with browser.open(link[1] + "/console/api/session", timeout=20) as answer:
            session = json.loads(answer.read())
        self.assertFalse(session["cluster"]["connected"])
        self.assertIn("does not answer", session["limits"][0])
        with browser.open(link[1] + "/console/api/overview", timeout=20) as answer:
            self.assertNotIn("topics", json.loads(answer.read()))


class Embedded(Console):
    """The embedded broker, with a journal, machines and a script that fails."""

    def begin(self, script=CHAIN, *arguments, **more):
        env = {"SIPEAT_JOURNAL": self.dir / "journal.db"}
        return super().begin(script, *arguments, env=env, **more)

    def publish(self, name):
        done = self.run_sipeat("publish", "request.created", "--topic", "requests", "--id", name, "--key", name,
                               "--data", '{"amount": 150}')
        self.assertEqual(done.returncode, 0, done.log)

    def test_a_parked_chain_is_seen_and_decided(self):
        self.begin()
        self.publish("r-1")
        run = wait_for(lambda: next(iter(self.viewer.get("chains?state=parked")["runs"]), None), "a parked run")
        self.assertEqual((run["event_id"], run["flow"]), ("r-1", "sales"))
        shown = self.viewer.get("chains/r-1")
        self.assertEqual([one["step"] for one in shown["steps"]], ["payment", "dispense"])
        self.assertIn("unknown", shown["steps"][1]["status"])
        self.assertTrue(shown["timeline"] and shown["next"])
        self.refused(400, "BAD_REQUEST", "POST", f"chains/{run['id']}/skip", {"step": "dispense"})
        self.refused(404, "NOT_FOUND", "POST", f"chains/{run['id']}/forget", {"why": "x"})
        self.refused(404, "NOT_FOUND", "GET", "chains/nothing")
        plan = self.operator.post(f"chains/{run['id']}/skip", {"step": "dispense", "why": "looked", "dry_run": True,
                                                               "result": {"vended": True}})
        self.assertTrue(plan["dry_run"] and plan["changes"])
        self.assertEqual(self.viewer.get("chains/r-1")["audit"], [])
        done = self.operator.post(f"chains/{run['id']}/skip", {"step": "dispense", "why": "it fell out",
                                                               "result": {"vended": True}})
        self.assertFalse(done["dry_run"])
        ended = wait_for(lambda: next((one for one in self.viewer.get("chains?state=all")["runs"]
                                       if one["state"] == "done"), None), "the run is done")
        said = self.viewer.get(f"chains/{ended['id']}")["audit"]
        self.assertEqual([(one["who"], one["why"]) for one in said], [("test-operator", "it fell out")])
        self.refused(409, "REFUSED", "POST", f"chains/{run['id']}/retry", {"why": "again"})
        hits = [data for name, data, _ in self.viewer.stream("search", q="r-1") if name == "hit"]
        self.assertIn("chain", {one["kind"] for one in hits})
        flow = self.viewer.get("flows")
        self.assertEqual(flow["flows"][0]["parked"], 0)
        self.assertIn(("breaker", "stripe", "closed"),
                      [(one["kind"], one["name"], one["state"]) for one in flow["guards"]])

    def test_what_an_embedded_broker_cannot_do_is_told_as_such(self):
        self.begin()
        self.publish("r-2")
        session = self.viewer.get("session")
        self.assertTrue(session["cluster"]["embedded"] and session["features"]["chains"])
        groups = wait_for(lambda: (lambda told: told if told["groups"][0]["topics"] else None)(
            self.viewer.get("groups")), "the group has committed")
        self.assertEqual([(one["name"], one["ours"], one["members"]) for one in groups["groups"]], [("sales", True, 1)])
        self.assertTrue(any("embedded" in text for text in groups["limits"]))
        shown = self.viewer.get("groups/sales")
        self.assertEqual((shown["state"], shown["members"]), ("Stable", []))
        self.assertTrue(any("members" in text for text in shown["limits"]))
        topic = self.viewer.get("topics/requests")
        self.assertIsNone(topic["configuration"])
        self.assertTrue(any("configuration" in text for text in topic["limits"]))
        self.assertIn("embedded", self.refused(422, "UNSUPPORTED", "DELETE", "topics/requests",
                                               {"confirm": "requests"}))
        found, done = self.viewer.messages("requests", json="amount=150", header="ce_type=request.created")
        self.assertEqual((len(found), done["reason"]), (1, "end"))
        found, _ = self.viewer.messages("requests", **{"from": "1h"})
        self.assertEqual(len(found), 1)
        found, _ = self.viewer.messages("requests", until="1h")
        self.assertEqual(found, [])
        overview = self.viewer.get("overview")
        self.assertEqual((overview["topics"]["messages"] >= 1, overview["machines"]), (True, {"count": 1, "online": 1}))

    def test_machines_scripts_and_their_failures(self):
        self.begin()
        machine = self.viewer.get("machines")["machines"][0]
        self.assertEqual((machine["id"], machine["driver"], machine["online"]), ("vm-1", "simulated", True))
        self.assertEqual(machine["slots"], [{"slot": "1", "stock": 4}])
        self.assertEqual(self.viewer.get("machines/vm-1")["orders"], [])
        self.refused(404, "NOT_FOUND", "GET", "machines/vm-9")
        before = self.viewer.get("scripts")
        save(self.dir / "script.lua", "this is no Lua")
        self.assertIn("script.lua", self.refused(409, "SCRIPT", "POST", "scripts/reload", {}))
        told = self.viewer.get("scripts")
        self.assertEqual((told["version"], told["generation"]), (before["version"], before["generation"]))
        self.assertIn("script.lua", told["reload_error"])
        self.assertTrue(any(one["level"] == "error" for one in told["failures"]))
        save(self.dir / "script.lua", CHAIN + "-- again\n")
        again = self.admin.post("scripts/reload", {})
        self.assertNotEqual(again["version"], before["version"])
        self.assertEqual(self.viewer.get("scripts")["version"], again["version"])


if __name__ == "__main__":
    harness.main()
