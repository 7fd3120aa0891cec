"""Errors to Sentry: dead letters, parked chains, routes and what a script reports, without secrets; and a Sentry that
is slow, dead or says that it is enough."""

import re

from support import harness
from support.fake_sentry import FakeSentry
from support.harness import get

SCRIPT = """
local sipeat = require "sipeat"
local env, http, sentry = require "sipeat.env", require "sipeat.http", require "sipeat.sentry"
local token = env.secret "BANK_TOKEN"
local function charge(data)
  if not data.iban then
    error("no iban of " .. data.email .. ", token " .. env.reveal(token))
  end
end
sipeat.flow { topic = "orders", group = "shop", retry = { attempts = 1 }, on = {
  ["order.created"] = function(event)
    charge(event.data)
  end,
  ["order.refused"] = function(event)
    return nil, sipeat.permanent("order " .. event.data.n .. " declined by the bank", "DECLINED")
  end,
  ["order.looped"] = function()
    while true do end
  end,
  ["order.parked"] = sipeat.chain "drink" { { "dispense", effect = "at_most_once", run = function()
    return nil, "no answer", "ETIMEDOUT"
  end } },
}, budget = { time = "200ms" } }
http.route("GET /broken", function()
  error "the page is broken"
end)
http.route("GET /capture", function()
  local ok, err = pcall(function() error "caught" end)
  return { json = { ok = ok, id = sentry.capture(err, {
    tags = { event_type = "invoice.created", ["bad name!"] = ("x"):rep(500) },
    extra = { password = "hunter2", note = "card 4242 4242 4242 4242", nested = { a = 1 } },
  }) } }
end)
http.route("GET /many", function()
  local made = 0
  for i = 1, 400 do
    made = made + (sentry.capture("failure " .. i) and 1 or 0)
  end
  return { json = { made = made } }
end)
"""


class Sentry(harness.Case):
    def setUp(self):
        super().setUp()
        self.sentry = self.enterContext(FakeSentry())

    def run_script(self, **env):
        self.env = {"SENTRY_DSN": self.sentry.dsn, "SENTRY_ENVIRONMENT": "tests", "BANK_TOKEN": "tok-8f2e77aa", **env}
        process = self.start("run", self.script(SCRIPT), "--no-watch", env=self.env)
        process.wait_log(": version ")
        self.url = "http://" + re.search(r"http://([0-9.]+:\d+)", process.wait_log("listening on"))[1]
        return process

    def publish(self, kind, data="{}"):
        done = self.run_sipeat("publish", kind, "--topic", "orders", "--data", data, env=self.env)
        self.assertEqual(done.returncode, 0, done.log)

    def event(self, process, number=0):
        def look():
            self.assertEqual(self.sentry.refused, [])
            return len(self.sentry.events()) > number
        process.until(look, f"report {number}")
        return self.sentry.events()[number]


class Reports(Sentry):
    def test_a_dead_letter_comes_with_frames_and_tags_and_without_secrets(self):
        process = self.run_script()
        self.publish("order.created", '{"email": "ada@example.org"}')
        event = self.event(process)
        self.assertEqual(event["level"], "fatal")
        tags = event["tags"]
        self.assertEqual((tags["event_type"], tags["flow"], tags["topic"]), ("order.created", "shop", "orders"))
        self.assertRegex(tags["partition"], r"^\d+$")
        self.assertIn(event["release"], process.wait_log(": version "))
        self.assertEqual((event["environment"], event["transaction"]), ("tests", "process orders"))
        error = event["exception"]["values"][-1]
        self.assertEqual(error["type"], "SCRIPT_ERROR")
        self.assertIn("no iban of a***@***.org, token ***", error["value"])
        self.assertNotIn("tok-8f2e77aa", str(event))
        self.assertNotIn("ada@", str(event))
        frames = [frame for frame in error["stacktrace"]["frames"] if frame["in_app"]]
        self.assertEqual(frames[-1]["function"], "charge")
        self.assertTrue(frames[-1]["abs_path"].endswith("script.lua"))
        self.assertEqual(frames[-1]["lineno"], 7)
        self.assertFalse(error["stacktrace"]["frames"][0]["in_app"])
        self.assertFalse(error["mechanism"]["handled"])

    def test_failures_without_frames_are_grouped_by_what_they_say(self):
        process = self.run_script()
        self.publish("order.refused", '{"n": 17}')
        self.publish("order.refused", '{"n": 18}')
        first, second = self.event(process), self.event(process, 1)
        self.assertEqual(first["fingerprint"], second["fingerprint"])
        self.assertNotEqual(first["event_id"], second["event_id"])
        self.assertEqual(first["exception"]["values"][0]["type"], "DECLINED")
        self.assertEqual((first["level"], first["tags"]["kind"]), ("error", "permanent"))
        self.assertTrue(any("declined" in crumb["message"] for crumb in first["breadcrumbs"]["values"]))

    def test_what_runs_away_and_what_is_parked_is_reported(self):
        process = self.run_script(SIPEAT_JOURNAL=self.dir / "journal.db")
        self.publish("order.looped")
        looped = self.event(process)
        self.assertEqual(looped["tags"]["event_type"], "order.looped")
        self.assertEqual(looped["level"], "fatal")
        self.publish("order.parked")
        parked = self.event(process, 1)
        self.assertEqual((parked["tags"]["chain"], parked["tags"]["step"]), ("drink", "dispense"))
        self.assertEqual(parked["tags"]["code"], "UNKNOWN_OUTCOME")
        self.assertGreater(len(parked["exception"]["values"]), 1)
        self.assertEqual(parked["exception"]["values"][0]["type"], "ETIMEDOUT")

    def test_a_script_reports_what_it_caught_and_a_broken_route_is_reported(self):
        process = self.run_script()
        status, body = get(self.url + "/capture")
        self.assertEqual(status, 200)
        event = self.event(process)
        self.assertIn(event["event_id"], body.decode())
        self.assertEqual(event["tags"]["event_type"], "invoice.created")
        self.assertEqual(event["extra"]["password"], "***")
        self.assertNotIn("4242 4242", event["extra"]["note"])
        self.assertEqual(event["extra"]["nested"], '{"a":1}')
        self.assertIn("caught", event["exception"]["values"][0]["value"])
        self.assertEqual(get(self.url + "/broken")[0], 500)
        broken = self.event(process, 1)
        self.assertEqual(broken["tags"]["route"], "GET /broken")
        self.assertIn("the page is broken", broken["exception"]["values"][0]["value"])
        self.assertEqual(process.stop(), 0)

    def test_nothing_is_sent_without_a_dsn_or_with_one_that_is_none(self):
        process = self.run_script(SENTRY_DSN="https://sentry.example.org/1")
        self.assertNotIn("id", get(self.url + "/capture")[1].decode())
        process.wait_log("SENTRY_DSN: expected https://<public key>@<host>/<project id>")


class BadDays(Sentry):
    def test_a_limit_is_kept_and_other_limits_are_not_ours(self):
        process = self.run_script()
        self.sentry.next("other_limit")
        self.assertIn("id", get(self.url + "/capture")[1].decode())
        self.event(process)
        self.sentry.next("limits_later")
        self.assertIn("id", get(self.url + "/capture")[1].decode())
        self.event(process, 1)
        process.until(lambda: "id" not in get(self.url + "/capture")[1].decode(), "the limit is kept")
        self.assertIn('sipeat_sentry_dropped_total{reason="limited"}', get(self.url + "/metrics")[1].decode())

    def test_a_429_is_kept_and_a_report_is_never_sent_twice(self):
        for answer in ("limited", "limited_plain"):
            with self.subTest(answer):
                process = self.run_script()
                before = self.sentry.requests
                self.sentry.next("broken", "dropped", answer)
                for n in range(3):
                    get(self.url + "/capture")
                    process.until(lambda n=n: self.sentry.requests > before + n, "a request")
                process.until(lambda: "id" not in get(self.url + "/capture")[1].decode(), "the limit is kept")
                self.assertEqual(self.sentry.events(), [])
                self.assertEqual(self.sentry.refused, [])
                process.stop()

    def test_events_do_not_wait_for_a_sentry_that_hangs_and_the_buffer_is_bounded(self):
        process = self.run_script()
        self.sentry.next("hung")
        get(self.url + "/capture")
        process.until(lambda: self.sentry.requests > 0, "a request")
        _, body = get(self.url + "/many")
        self.assertEqual(body, b'{"made":99}')
        metrics = get(self.url + "/metrics")[1].decode()
        self.assertIn('sipeat_sentry_dropped_total{reason="flood"} 101', metrics)
        self.publish("order.refused", '{"n": 1}')
        process.wait_log("dead letter")
        self.sentry.release()
        self.event(process, 98)


if __name__ == "__main__":
    harness.main()
