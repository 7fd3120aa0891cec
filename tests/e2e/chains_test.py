"""`sipeat chains` and `sipeat replay`: a parked chain is looked at, decided on, exported and replayed, through the
process that has the journal and without one."""

import json
import re
import sqlite3

from support import harness
from support.harness import get, wait_for

SCRIPT = """
local sipeat = require "sipeat"
local parts = require "parts"
sipeat.flow { topic = "requests", group = "sales", on = { ["request.created"] = sipeat.chain "drink" {
  { "inventory", effect = "local", run = function()
    return { slot = 3 }
  end, undo = function()
    return true
  end },
  { "payment", effect = "idempotent", args = function(event)
    return { amount = event.data.amount * parts.factor, card_token = "tok_visible" }
  end, run = function()
    return { id = "pi_1" }
  end, undo = function()
    return true
  end },
  { "dispense", effect = "at_most_once", run = function(args)
    if args.silent then
      return nil, "no answer", "ETIMEDOUT"
    end
    return { vended = true }
  end },
  NOTICE
} } }
"""
NOTICE = """{ "notice", effect = "repeatable", args = function(_, ctx)
    return { slot = ctx.results.inventory.slot }
  end, run = function()
    return { sent = true }
  end },"""
RECEIPT = NOTICE.replace('"notice"', '"receipt"')


class Chains(harness.Case):
    def setUp(self):
        super().setUp()
        (self.dir / "parts.lua").write_text("return { factor = 1 }\n")
        self.path = self.script(SCRIPT.replace("NOTICE", NOTICE))
        self.env = {"SIPEAT_JOURNAL": self.dir / "journal.db"}

    def begin(self, *more):
        self.process = self.start("run", self.path, "--no-watch", *more, env=self.env)
        self.process.wait_runs()
        return self.process

    def chains(self, *arguments, code=0):
        done = self.run_sipeat("chains", *arguments, env=self.env)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.log}\n{done.output}")
        return done

    def objects(self, *arguments):
        return [json.loads(line) for line in self.chains(*arguments, "--json").out]

    def publish(self, name, **data):
        done = self.run_sipeat("publish", "request.created", "--topic", "requests", "--id", name,
                               "--key", f"key-{name}", "--data", json.dumps({"amount": 150, **data}))
        self.assertEqual(done.returncode, 0, done.log)

    def states(self):
        return {one["event_id"]: one["state"] for one in self.objects("list", "--state", "all")}

    def wait_states(self, **wanted):
        wait_for(lambda: self.states() == wanted, lambda: f"{wanted}: {self.states()}")

    def parked(self, *names):
        for name in names:
            self.publish(name, silent=True)
        self.wait_states(**dict.fromkeys(names, "parked"))

    def test_a_parked_chain_is_decided_through_the_process_and_without_it(self):
        self.begin()
        self.parked("one", "two", "three")
        listed = self.chains("list")
        self.assertRegex(listed.out[0], r"^ID +STATE +BEGAN +FLOW +TYPE +KEY +EVENT +WHY$")
        self.assertIn("step dispense: outcome unknown (no answer)", listed.output)
        self.assertIn("3 parked", listed.log)
        shown = self.chains("show", "one").output
        self.assertRegex(shown, r"● payment +done in \d+ ms +\{.*\} → \{\"id\":\"pi_1\"\}")
        self.assertRegex(shown, r"\? dispense +begun")
        self.assertIn('"card_token":"***"', shown)
        self.assertNotIn("tok_visible", shown)
        self.assertRegex(shown, r"sipeat chains skip \d+ dispense")
        dry = self.chains("skip", "one", "dispense", "--why", "w", "--dry-run").output
        self.assertIn("was parked and would go on", dry)
        self.assertEqual(self.states()["one"], "parked")
        self.chains("skip", "one", "dispense", "--result", '{"vended":1}', "--why", "counter went up", "--who", "ada")
        self.wait_states(one="done", two="parked", three="parked")
        one = self.objects("show", "one")[0]
        self.assertEqual([(step["step"], step["status"]) for step in one["steps"]],
                         [("inventory", "done"), ("payment", "done"), ("dispense", "done"), ("notice", "done")])
        self.assertEqual([(said["who"], said["verb"], said["why"]) for said in one["audit"]],
                         [("ada", "skip dispense", "counter went up")])
        self.chains("undo", "two", "--why", "customer went away")
        self.wait_states(one="done", two="dead", three="parked")
        self.assertRegex(self.chains("show", "two").output, r"● payment +undone")
        busy = self.chains("vacuum", code=1)
        self.assertIn("a process works on this journal", busy.log)
        status, body = get(f"{self.url()}/admin/chains/none")
        self.assertEqual((status, json.loads(body)["code"]), (404, "NOT_FOUND"))
        status, body = get(f"{self.url()}/admin/chains/three", body=b'{"verb":"abandon","who":"x"}')
        self.assertEqual((status, json.loads(body)["code"]), (400, "USAGE"))
        status, _ = get(f"{self.url()}/admin/chains", **{"Origin": "http://elsewhere"})
        self.assertEqual(status, 403)

        self.assertEqual(self.process.stop(), 0)
        self.chains("abandon", "three", "--why", "too late")
        self.assertEqual(self.states(), {"one": "done", "two": "dead", "three": "abandoned"})
        refused = self.chains("complete", "three", "--why", "w", code=1)
        self.assertIn("is abandoned and cannot be completed", refused.log)
        self.chains("retry", "three", "--why", "after all")
        self.begin()
        self.wait_states(one="done", two="dead", three="parked")

    def url(self):
        return "http://" + re.search(r"http://([0-9.]+:\d+)", self.process.wait_log("listening on"))[1]

    def test_an_export_replays_the_same_and_says_where_another_script_parts(self):
        self.begin()
        self.publish("good")
        self.publish("bad", silent=True)
        self.wait_states(good="done", bad="parked")
        file = self.dir / "good.jsonl"
        self.chains("export", "good", "-o", file)
        self.chains("export", "bad", "-o", self.dir / "bad.jsonl")
        self.assertEqual(self.process.stop(), 0)

        for name in ("good", "bad"):
            same = self.replay(self.dir / f"{name}.jsonl", self.path)
            self.assertIn("the same", same.output)
        self.assertIn("the same", self.replay(file).output, "the script as it was")
        self.path.write_text(SCRIPT.replace("NOTICE", RECEIPT))
        (self.dir / "parts.lua").write_text("return { factor = 2 }\n")
        parted = self.replay(file, self.path, code=1)
        self.assertIn("other arguments", parted.output)
        self.assertRegex(parted.output, r'recorded +\{.*"amount":150')
        self.assertRegex(parted.output, r'now +\{.*"amount":300')
        report = json.loads(self.replay(file, self.path, "--json", code=1).output)
        self.assertEqual({step["step"]: [part["kind"] for part in step["parts"]] for step in report["steps"]},
                         {"inventory": [], "payment": ["arguments"], "dispense": [], "notice": ["missing"],
                          "receipt": ["new"]})
        self.path.write_text("this is no Lua")
        self.assertIn("script.lua", self.replay(file, self.path, code=3).log)
        self.path.write_text("local x = 1")
        self.assertIn("no flow of the group sales", self.replay(file, self.path, code=1).log)

    def replay(self, *arguments, code=0):
        done = self.run_sipeat("replay", *arguments)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.log}\n{done.output}")
        return done

    def test_what_cannot_be_done_is_refused_with_its_reason(self):
        self.assertIn("there is no journal", self.chains("list", code=7).log)
        self.begin()
        self.parked("one")
        self.assertEqual(self.process.stop(), 0)
        self.assertIn("say why: --why TEXT", self.chains("retry", "one", code=2).log)
        self.assertIn("no such state (did you mean parked?)", self.chains("list", "--state", "parkd", code=2).log)
        self.assertIn("--since is a time such as", self.chains("list", "--since", "yesterday", code=2).log)
        wrong = self.chains("skip", "one", "dispense", "--result", "{", "--why", "w", code=2)
        self.assertIn("--result is JSON", wrong.log)
        self.assertIn("nor of an event of that id: none", self.chains("show", "none", code=1).log)
        self.assertIn("there are: inventory, payment, dispense",
                      self.chains("skip", "one", "vend", "--why", "w", code=1).log)
        self.assertIn("did you mean list?", self.chains("lst", code=2).log)
        for text, words in (("", "empty"), ("{}\n", "no file of sipeat chains export"), ("no JSON", "no JSON object"),
                            ('{"sipeat_export":99,"run":{}}\n', "use a newer sipeat"),
                            ('{"sipeat_export":1,"run":{}}\n', "not whole")):
            file = self.dir / "file.jsonl"
            file.write_text(text)
            self.assertIn(words, self.replay(file, self.path, code=1).log)
        self.assertIn("none.jsonl", self.replay(self.dir / "none.jsonl", self.path, code=1).log)
        deleted = self.chains("vacuum", "--journal-keep", "1ms").output
        self.assertIn("0 chains deleted", deleted, "open ones never are")
        self.chains("abandon", "one", "--why", "w")
        wait_for(lambda: "1 chains deleted" in self.chains("vacuum", "--journal-keep", "1ms").output, "deleted")
        with sqlite3.connect(self.env["SIPEAT_JOURNAL"]) as db:
            self.assertEqual(db.execute("SELECT count(*) FROM record").fetchone()[0], 0)
        db.close()
        self.env["SIPEAT_JOURNAL"].write_bytes(b"no database" * 100)
        self.assertIn("damaged", self.chains("list", code=7).log)


if __name__ == "__main__":
    harness.main()
