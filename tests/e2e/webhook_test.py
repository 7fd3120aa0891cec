"""Webhooks in, as Discord and Stripe send them: a parked chain gets a notice with buttons, and a signed press of one
retries or undoes it; what is forged, replayed, late or not allowed changes nothing."""

import hashlib
import hmac
import json
import re
import subprocess
import time

from support import harness
from support.fake_discord import FakeDiscord
from support.harness import get, wait_for

OPERATOR, STRANGER, ROLE = "111222333", "999888777", "444555666"
SCRIPT = """
local sipeat = require "sipeat"
local env = require "sipeat.env"
local sys = require "sipeat.core.sys"
sipeat.flow { topic = "requests", group = "sales", on = { ["request.created"] = sipeat.discord.notified(
  sipeat.chain "drink" {
    { "payment", effect = "idempotent", run = function()
      return { id = "pi_1" }
    end, undo = function()
      return true
    end },
    { "dispense", effect = "at_most_once", run = function()
      return nil, "no answer", "ETIMEDOUT"
    end, reconcile = function()
      if sys.read_file(env.get "DROPPED") then
        return "done", { vended = true }
      end
      return "unknown"
    end },
  }) } }
sipeat.http.route("POST /webhooks/stripe", require("sipeat.webhook").stripe({}, function(event)
  require("sipeat.log").new("shop"):info("stripe " .. event.id)
end))
"""


class Key:
    """A key pair of Discord's kind, and what it signs, made by openssl."""

    def __init__(self, directory):
        self.path, self.message = directory / "discord.pem", directory / "message"
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.path)
        self.public = self.openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-32:].hex()

    @staticmethod
    def openssl(*arguments):
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

    def sign(self, text):
        self.message.write_bytes(text)
        return self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", self.message).hex()


class Webhooks(harness.Case):
    def setUp(self):
        super().setUp()
        self.discord = self.enterContext(FakeDiscord())
        self.key, self.number = Key(self.dir), 0
        self.env = {
            "SIPEAT_JOURNAL": self.dir / "journal.db", "DISCORD_WEBHOOK": self.discord.url,
            "DISCORD_PUBLIC_KEY": self.key.public, "DISCORD_OPERATORS": f"{OPERATOR}, {ROLE}",
            "STRIPE_WEBHOOK_SECRET": "whsec_test", "DROPPED": self.dir / "dropped",
        }
        self.process = self.start("run", self.script(SCRIPT), "--no-watch", env=self.env)
        self.process.wait_log(": version ")
        self.url = "http://" + re.search(r"http://([0-9.]+:\d+)", self.process.wait_log("listening on"))[1]

    def park(self, name):
        """Publishes an event whose chain is parked: the message that Discord got about it."""
        before = len(self.discord.messages())
        done = self.run_sipeat("publish", "request.created", "--topic", "requests", "--id", name, "--data", "{}",
                               env=self.env)
        self.assertEqual(done.returncode, 0, done.log)
        wait_for(lambda: len(self.discord.messages()) > before, "a notice")
        return self.discord.messages()[before]

    @staticmethod
    def buttons(message):
        return {button["label"]: button["custom_id"] for button in message["components"][0]["components"]}

    def interaction(self, custom_id, who=OPERATOR, roles=()):
        self.number += 1
        return {"id": f"77{self.number}", "type": 3, "data": {"custom_id": custom_id, "component_type": 2},
                "member": {"user": {"id": who, "username": "ada"}, "roles": list(roles)}}

    def send(self, event, age=0, forge=False):
        body, at = json.dumps(event).encode(), str(int(time.time()) - age)
        signature = self.key.sign(at.encode() + body)
        if forge:
            signature = ("0" if signature[0] != "0" else "1") + signature[1:]
        status, text = get(self.url + "/webhooks/discord", body=body, **{
            "Content-Type": "application/json", "X-Signature-Ed25519": signature, "X-Signature-Timestamp": at})
        return status, json.loads(text)

    def runs(self):
        done = self.run_sipeat("chains", "list", "--state", "all", "--json", env=self.env)
        return {run["event_id"]: run for run in map(json.loads, done.out)}

    def test_a_button_of_a_parked_chain_acts_as_the_command_line_does(self):
        self.assertEqual(self.send({"id": "1", "type": 1}), (200, {"type": 1}), "its ping is answered")
        notice = self.park("one")
        self.assertIn("Parked", notice["embeds"][0]["footer"]["text"])
        buttons = self.buttons(notice)
        status, answer = self.send(self.interaction(buttons["Retry"], STRANGER))
        self.assertEqual((status, answer["data"]["flags"]), (200, 64))
        self.assertIn("DISCORD_OPERATORS", answer["data"]["content"])
        self.assertEqual(self.runs()["one"]["state"], "parked")

        (self.dir / "dropped").touch()
        status, answer = self.send(self.interaction(buttons["Retry"]))
        self.assertEqual((status, answer["type"], answer["data"]["components"]), (200, 7, []))
        self.assertIn("goes on", answer["data"]["content"])
        wait_for(lambda: self.runs()["one"]["state"] == "done", lambda: f"done: {self.runs()}")
        shown = self.run_sipeat("chains", "show", "one", "--json", env=self.env).output
        said = json.loads(shown)["audit"][0]
        self.assertEqual((said["who"], said["verb"], said["why"]),
                         (f"discord:ada ({OPERATOR})", "retry", "a button in Discord"))
        noted = json.loads(self.run_sipeat("audit", "--json", env=self.env).out[0])
        self.assertEqual((noted["what"], noted["via"], noted["fields"]["event_id"]), ("chain.retry", "discord", "one"))

        (self.dir / "dropped").unlink()
        buttons = self.buttons(self.park("two"))
        self.assertEqual(self.send(self.interaction(buttons["Undo"], STRANGER, [ROLE]))[1]["type"], 7, "by a role")
        wait_for(lambda: self.runs()["two"]["state"] == "dead", lambda: f"dead: {self.runs()}")
        self.assertEqual(self.send(self.interaction(buttons["Undo"]))[1]["data"]["flags"], 64, "it is too late")

    def test_what_is_forged_late_or_replayed_changes_nothing(self):
        buttons = self.buttons(self.park("one"))
        press = self.interaction(buttons["Undo"])
        self.assertEqual(self.send(press, forge=True)[0], 401)
        self.assertEqual(self.send(press, age=301)[0], 401)
        status, _ = get(self.url + "/webhooks/discord", body=json.dumps(press).encode())
        self.assertEqual(status, 401)
        other = re.sub(r":\w+$", ":0123456789abcdef", buttons["Undo"])
        self.assertIn("not the one", self.send(self.interaction(other))[1]["data"]["content"])
        self.assertEqual(self.runs()["one"]["state"], "parked")
        self.assertEqual(self.send(self.interaction("skip:1"))[0], 404)
        press = self.interaction(buttons["Undo"])
        self.assertEqual(self.send(press)[1]["type"], 7)
        self.assertEqual(self.send(press), (200, {"received": True, "repeated": True}))
        rows = self.run_sipeat("audit", "--what", "chain", "--json", env=self.env).out
        self.assertEqual(len(rows), 1)

    def test_a_delivery_of_stripe_is_handled_once_also_after_a_restart(self):
        def send(name, secret="whsec_test"):
            body, at = json.dumps({"id": name, "type": "charge.refunded"}).encode(), str(int(time.time()))
            signature = hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
            return get(self.url + "/webhooks/stripe", body=body, **{"Stripe-Signature": f"t={at},v1={signature}"})

        self.assertEqual(send("evt_1", "whsec_other")[0], 400)
        self.assertEqual(send("evt_1")[0], 200)
        self.assertIn("stripe evt_1", self.process.log)
        self.assertEqual(self.process.stop(), 0)
        self.process = self.start("run", self.dir / "script.lua", "--no-watch", env=self.env)
        self.process.wait_log(": version ")
        self.url = "http://" + re.search(r"http://([0-9.]+:\d+)", self.process.wait_log("listening on"))[1]
        self.assertEqual(json.loads(send("evt_1")[1]), {"received": True, "repeated": True})
        self.assertNotIn("stripe evt_1", self.process.log)


if __name__ == "__main__":
    harness.main()
