"""What leaves for other services: mail to a real OpenSMTPD, payments to stripe-mock, and bad days on which services
hang, limit, lie or are gone, while events go on and what is lost is counted."""

import hashlib
import json
import re
import socket
import subprocess
import sys
import time

from support import harness
from support.browser import Browser
from support.fake_service import FakeService, Reply
from support.fake_slack import FakeSlack
from support.harness import get
from support.smtpd import Smtpd
from support.stripe_mock import StripeMock

MAIL = """
local sipeat = require "sipeat"
local letter = sipeat.mail.template {
  subject = "Rechnung für {{ name }}", text = "Hallo {{ name }}.",
  html = '<p title="{{ name }}">Hallo {{ name }}.</p><img src="cid:logo">',
}
sipeat.http.route("POST /mail", function(req)
  local wanted = req:json()
  local sent, why, code = sipeat.mail.send(letter(wanted, {
    to = wanted.to, cc = wanted.cc, bcc = wanted.bcc, timeout = "60s", attachments = {
      { name = "Rechnung März 請求書.bin", data = ("\\0\\r\\n\\255sipeat"):rep(1024 * 1024) },
      { name = "logo.png", type = "image/png", data = "png", content_id = "logo" },
    },
  }), { key = wanted.key })
  return { json = sent or { why = tostring(why), code = code } }
end)
"""
RETRIES = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "mails", group = "mailer", retry = { attempts = 5, backoff = { "20ms", "50ms" } },
  on = { ["mail.wanted"] = sipeat.chain "mail" {
    { "send", effect = "repeatable", run = sipeat.mail.send, args = function(event)
      return { to = event.data.to, subject = "Hello", text = "Hello." }
    end },
  } },
}
"""
BAD_DAY = """
local sipeat = require "sipeat"
local analytics, slack = sipeat.analytics, sipeat.slack
analytics.configure { flush = "10ms", max_items = 50 }
local done = 0
sipeat.flow {
  topic = "orders", group = "bad-day", on = { ["order.created"] = function(event, ctx)
    for i = 1, 20 do
      analytics.track({ user_id = i, event = "order " .. i }, ctx)
    end
    slack.notify(slack.notice { title = "Order <!channel>", text = event.id })
    done = done + 1
    if done == 200 then
      sipeat.log.info "all orders are done"
    end
  end },
}
"""
DRAIN = """
local sipeat = require "sipeat"
local reports = sipeat.batch.new {
  name = "reports", flush = "1h", send = function(items)
    return sipeat.batch.posted("reports", sipeat.http.post(sipeat.env.get "SINK", { json = items }))
  end,
}
sipeat.http.route("POST /report", function()
  return { json = { taken = reports:add { n = 1 } } }
end)
"""
DEV = """
local sipeat = require "sipeat"
sipeat.http.route("POST /tell", function()
  local notice = sipeat.slack.notice { title = "<b>", text = "& co", fields = { { "a", "b" } } }
  local results = {
    assert(sipeat.slack.send(notice)),
    assert(sipeat.slack.post { channel = "#ops", text = "Hi" }),
    assert(sipeat.sms.send { to = "+491701234567", text = "Slot 4" }),
    assert(sipeat.push.send { token = "device", title = "Ready", body = "Slot 4" }),
    sipeat.analytics.track { user_id = 1, event = "Order Created" },
    assert(sipeat.analytics.flush "10s"),
  }
  return { json = { count = #results } }
end)
"""
STRIPE = """
local sipeat = require "sipeat"
sipeat.http.route("POST /pay", function()
  local paid, why = sipeat.stripe.capture({
    amount = sipeat.money.new(250, "EUR"), payment_method = "pm_card_visa", description = "Cola & more",
    receipt_email = "ada@example.com", metadata = { order = "o-1" },
  }, { key = "e1:payment" })
  local back, problem = sipeat.stripe.refund_payment({
    payment = "pi_1", amount = sipeat.money.new(100, "EUR"), reason = "duplicate", metadata = { order = "o-1" },
  }, { key = "e2:refund" })
  local undone, trouble = sipeat.stripe.refund({}, { id = "pi_1" }, { key = "e1:payment" })
  local verdict = sipeat.stripe.reconcile({}, { key = "e1:payment" })
  return { json = {
    paid = paid, why = why and { code = why.code, message = why.message }, verdict = verdict,
    back = back, problem = problem and problem.message, undone = undone, trouble = trouble and trouble.message,
  } }
end)
"""


class Sink(FakeService):
    """Takes JSON, or hangs."""

    answers = ()

    def __init__(self, hangs=False):
        self.bodies, self.hangs = [], hangs
        super().__init__()

    def reply(self, request):
        if self.hangs:
            time.sleep(3)
            return Reply(503, drop=True)
        with self.lock:
            self.bodies.append(json.loads(request.body))
        return Reply(200, {"success": True})


class Services(harness.Case):
    def serve(self, script, verb="run", more=(), **env):
        process = self.start(verb, self.script(script), "--no-watch", "--http", "127.0.0.1:0", *more, env=env)
        url = "http://" + re.search(r"http://([0-9.]+:\d+)", process.wait_log("listening on"))[1]
        process.until(lambda: get(url + "/ready")[0] == 200, "ready")
        return process, url

    def post(self, url, value=None):
        text = json.dumps(value or {}).encode()
        status, body = get(url, timeout=120, body=text, **{"Content-Type": "application/json"})
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def test_mail_reaches_a_real_server_whole(self):
        smtpd = self.enterContext(Smtpd())
        process, url = self.serve(MAIL, SMTP_URL=smtpd.url, MAIL_FROM="SipEat <no-reply@sipeat.example>")
        odd = ["plain@example.com", 'Ünïcode "Quoted" Näme <odd+tag_{x}@sub.example.co.uk>',
               "<a!#$%&'*+/=?^`|~.b@example.com>"]
        wanted = {"key": "e1:mail", "name": 'Ada "<b>" Łovelace', "to": odd, "bcc": ["secret@example.com"]}
        first, again = self.post(url + "/mail", wanted), self.post(url + "/mail", wanted)
        self.assertEqual(first["message_id"], again["message_id"], first)
        for bad in ("a@b.example\r\nBcc: eve@x.example", "eve@x.example, bob@x.example", "@", "a b@x.example", "a@x y",
                    "ada@bücher.example"):
            self.assertEqual(self.post(url + "/mail", {**wanted, "to": bad})["code"], "INVALID_ADDRESS", bad)
        refused = self.post(url + "/mail", {**wanted, "to": "a@refused.test", "bcc": []})
        self.assertEqual(refused["code"], "SMTP_REFUSED")
        process.until(lambda: smtpd.count() >= 8, "two mails for four people")
        for mail in smtpd.mails():
            self.assertEqual(mail["Message-ID"], f"<{first['message_id']}>")
            self.assertEqual(mail["Subject"], 'Rechnung für Ada "<b>" Łovelace')
            self.assertNotIn("secret@example.com", mail["To"])
            self.assertEqual([one.addr_spec for one in mail["To"].addresses], [
                "plain@example.com", "odd+tag_{x}@sub.example.co.uk", "a!#$%&'*+/=?^`|~.b@example.com"])
            self.assertEqual(mail["To"].addresses[1].display_name, 'Ünïcode "Quoted" Näme')
            self.assertEqual(mail.get_body(("plain",)).get_content().strip(), 'Hallo Ada "<b>" Łovelace.')
            self.assertIn("&lt;b&gt;", mail.get_body(("html",)).get_content())
            file, = mail.iter_attachments()
            self.assertEqual(file.get_filename(), "Rechnung März 請求書.bin")
            expected = b"\0\r\n\xffsipeat" * (1024 * 1024)
            self.assertEqual(hashlib.sha256(file.get_content()).digest(), hashlib.sha256(expected).digest())
            picture = [part for part in mail.walk() if part.get_content_type() == "image/png"]
            self.assertEqual([part["Content-ID"] for part in picture], ["<logo>"])

    def test_mail_is_tried_again_with_its_id(self):
        server = subprocess.Popen([sys.executable, harness.SOURCE / "tests/support/fake_smtp.py"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.wait)
        self.addCleanup(server.stdin.close)
        self.addCleanup(server.stdout.close)
        port = int(server.stdout.readline())
        env = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "MAIL_FROM": "no-reply@sipeat.example"}
        process, _ = self.serve(RETRIES, **env)
        for name in ("grey", "lost", "ada"):
            done = self.run_sipeat("publish", "mail.wanted", "--topic", "mails", "--id", name, "--data",
                                   json.dumps({"to": f"{name}@example.com"}), env=env)
            self.assertEqual(done.returncode, 0, done.log)

        def taken():
            with socket.create_connection(("127.0.0.1", port), 10) as client, client.makefile("rb") as answers:
                answers.readline()  # the greeting
                client.sendall(b"STAT\r\n")
                mails = json.loads(answers.readline())
            ids = {}
            for mail in mails:
                self.assertNotIn("violation", mail)
                ids.setdefault(mail["to"][0].split("@")[0], []).append(re.search(r"Message-ID: (\S+)", mail["data"])[1])
            return ids

        process.until(lambda: sum(map(len, taken().values())) >= 4, "the mails")
        ids = taken()
        self.assertEqual({name: len(found) for name, found in ids.items()}, {"grey": 1, "lost": 2, "ada": 1})
        self.assertEqual(len(set(ids["lost"])), 1, "another Message-ID for the same mail")
        self.assertEqual(process.stop(), 0, process.tail())

    def test_events_do_not_wait_for_services_that_hang_limit_or_lie(self):
        slack, sink = self.enterContext(FakeSlack()), self.enterContext(Sink(hangs=True))
        slack.next("error", "lie", "limited", "drop", "hang")
        env = {"SLACK_WEBHOOK": slack.webhook, "ANALYTICS_URL": sink.url, "ANALYTICS_WRITE_KEY": "k"}
        process, url = self.serve(BAD_DAY, more=("--drain", "2s"), **env)
        path = self.dir / "events.jsonl"
        path.write_text("".join(json.dumps({"id": f"o-{n}", "type": "order.created", "data": {}}) + "\n"
                                for n in range(200)))
        done = self.run_sipeat("publish", "--topic", "orders", "--file", path, env=env)
        self.assertEqual(done.returncode, 0, done.log)
        process.wait_log("all orders are done", 60)
        status, page = get(url + "/metrics")
        self.assertEqual(status, 200)
        counted = {name: int(n) for name, n in re.findall(
            r'sipeat_batch_items_total\{name="analytics",outcome="(\w+)"\} (\d+)', page.decode())}
        self.assertGreater(counted.get("full", 0), 3000, counted)
        self.assertLessEqual(int(re.search(r'queued_items\{name="analytics"\} (\d+)', page.decode())[1]), 50)
        began = time.monotonic()
        self.assertEqual(process.stop(deadline=60), 0, process.tail())
        self.assertLess(time.monotonic() - began, 30)
        self.assertIn("were not delivered in time", process.log)

    def test_what_waits_is_sent_when_the_program_stops(self):
        sink = self.enterContext(Sink())
        process, url = self.serve(DRAIN, SINK=sink.url + "/reports")
        for _ in range(3):
            self.assertEqual(self.post(url + "/report"), {"taken": True})
        self.assertEqual(sink.bodies, [])
        self.assertEqual(process.stop(), 0, process.tail())
        self.assertEqual(sink.bodies, [[{"n": 1}] * 3])

    def test_dev_shows_what_would_have_been_sent(self):
        _, url = self.serve(DEV, "dev")
        self.assertEqual(self.post(url + "/tell")["count"], 6)
        status, body = get(url + "/capture/entries.json")
        self.assertEqual(status, 200)
        entries = {one["kind"]: one["entry"] for one in json.loads(body)["entries"]}
        self.assertEqual(sorted(entries), ["analytics", "push", "slack", "sms"])
        self.assertEqual(entries["sms"]["text"], "Slot 4")
        self.assertEqual(entries["push"]["title"], "Ready")
        self.assertEqual(entries["analytics"]["event"], "Order Created")
        page = self.enterContext(Browser()).page()
        page.go(url + "/capture")
        page.see(".entry.analytics")
        self.assertEqual(sorted(page.texts(".entry .kind")), ["Analytics", "Push", "SMS", "Slack", "Slack"])
        shown = page.text("#feed")
        for part in ("<b>", "& co", "#ops", "+491701234567", "Slot 4", "Ready", "Order Created"):
            self.assertIn(part, shown)
        self.assertEqual(page.look("capture-services"), [])
        self.assertEqual(page.problems(), [])

    def test_payments_and_refunds_are_what_stripe_documents(self):
        stripe = self.enterContext(StripeMock())
        process, url = self.serve(STRIPE, STRIPE_API_URL=stripe.url, STRIPE_SECRET_KEY="sk_test_1")
        got = self.post(url + "/pay")
        # It has no state: its payment is always one that waits for a card, its refund one that succeeded.
        self.assertEqual(got["why"]["code"], "CARD_DECLINED", got)
        self.assertIn("requires_payment_method", got["why"]["message"])
        for name in ("back", "undone"):
            self.assertEqual(got[name]["status"], "succeeded", got)
            self.assertTrue(got[name]["id"].startswith("re_"), got)
        self.assertEqual(got["back"]["amount_minor"], 100)
        self.assertEqual(got["verdict"], "not_done", got)
        process.stop()
        _, url = self.serve(STRIPE, STRIPE_API_URL=stripe.url, STRIPE_SECRET_KEY="wrong")
        self.assertEqual(self.post(url + "/pay")["why"]["code"], "UNAUTHORIZED")


if __name__ == "__main__":
    harness.main()
