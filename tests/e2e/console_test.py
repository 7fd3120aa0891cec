"""The console in a browser: what an operator does on its pages, what a viewer may, and each page looked at."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from support import harness, kcat
from support.browser import DESK, PHONE, SCHEMES, Browser
from support.harness import save, wait_for
from support.kafka import Kafka

SOAK = os.environ.get("SIPEAT_SOAK") is not None
# A picture needs both schemes at both widths; what axe finds rarely depends on the pair.
ALL = SOAK or os.environ.get("SIPEAT_SCREENSHOTS") is not None
LOOKS = [((PHONE, DESK), SCHEMES)] if ALL else [((PHONE,), ("dark",)), ((DESK,), ("light",))]
PASSWORD = "correct horse battery"
SCRIPT = """
local sipeat = require "sipeat"
local vending = require "sipeat.vending"

assert(vending.attach {
  machine = "VM-1", driver = "simulated", settings = { proof = "sensor", slots = { 5, 0, 3 } },
})

sipeat.flow { topic = "orders", group = "orders-flow", key = "data.id", on = {
  ["order.created"] = function(event)
    if type(event.data.amount) ~= "number" then
      return nil, sipeat.permanent("the amount is not a number", "BAD_AMOUNT")
    end
    return true
  end,
} }

sipeat.flow { topic = "requests", group = "drinks", on = { ["request.created"] = sipeat.chain "drink" {
  { "payment", effect = "idempotent", run = function() return { id = "pi_1" } end, undo = function() return true end },
  { "dispense", effect = "at_most_once", run = function() return nil, "no answer", "ETIMEDOUT" end },
} } }
"""
WELL = """fetch("/console/api/flows").then((answer) => answer.json())
  .then(({ flows }) => flows.find((one) => one.group === "orders-flow")).then((one) => one.finished - one.dead)"""
EVIL = '<script>document.title = "taken"</script><img src=x onerror="document.title = 1">'

PAGES = {
    "overview": "", "topics": "topics", "messages": "topics/orders", "produce": "topics/orders/produce",
    "partitions": "topics/orders/partitions", "configuration": "topics/orders/configuration",
    "topic-groups": "topics/orders/groups", "message": "topics/requests/messages/0/0", "groups": "groups",
    "group": "groups/drinks", "brokers": "brokers", "broker": "brokers/1", "flows": "flows", "letters": "letters",
    "letters-of-a-topic": "letters/orders-dlt", "letter": "letters/orders-dlt/0/0", "chains": "chains",
    "chain": "chains/drink-look", "machines": "machines", "machine": "machines/VM-1", "scripts": "scripts",
    "search": "search?q=o-look", "audit": "audit", "missing": "no/such/page",
}


class Console(unittest.TestCase):
    """One broker, one process and one browser for all tests: each uses events of its own."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())
        cls.browser = cls.enterClassContext(Browser())
        for topic, partitions in (("orders", 1), ("requests", 1), ("notes", 1), ("reports", 1)):
            cls.kafka.wire.create_topic(topic, partitions)

        cls.dir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="sipeat-console-")))
        cls.env = {"KAFKA_BROKERS": cls.kafka.address, "SIPEAT_STATE": cls.dir,
                   "SIPEAT_JOURNAL": cls.dir / "journal.db"}
        (cls.dir / "password").write_text(PASSWORD + "\n")
        for name, role in (("ada", "admin"), ("eve", "viewer")):
            cls.run_verb("user", "add", name, "--role", role, "--password-file", cls.dir / "password")
        cls.path = cls.dir / "script.lua"
        save(cls.path, SCRIPT)
        cls.process = harness.Process(["run", cls.path, "--no-watch"], cls.dir, cls.env)
        cls.addClassCleanup(cls.process.close)
        cls.url = re.search(r"http://[0-9.]+:\d+", cls.process.wait_log("listening on "))[0]
        cls.process.wait_log(": version ")

    @classmethod
    def run_verb(cls, *arguments):
        process = harness.Process(arguments, cls.dir, cls.env)
        try:
            if process.wait() != 0:
                raise AssertionError(process.tail())
        finally:
            process.close()

    def tearDown(self):
        found = [mark for mark in harness.SANITIZERS if mark in self.process.log]
        self.assertEqual((found, self.process.popen.poll()), ([], None), self.process.tail())

    def sign_in(self, name="ada", at="/console", size=DESK):
        page = self.browser.page(size)
        self.addCleanup(page.close)
        page.go(self.url + at)
        page.fill("[name=name]", name)
        page.fill("[name=password]", PASSWORD)
        page.click("role=button[name='Sign in']")
        page.see("main h1")
        return page

    def fit(self, page, name):
        """A dialog as it is now: axe finds nothing, and with pictures it is looked at in each size and scheme."""
        self.assertEqual(page.look(name) if ALL else page.axe(), [])
        page.call("resize", *PHONE)
        self.assertFalse(page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)"
                                       "(document.querySelector('dialog'))"), f"{name} can be moved sideways")
        page.call("resize", *DESK)
        page.call("scheme", "light")

    def open(self, page, path):
        page.go(f"{self.url}/console/{path}")
        page.see("main h1")

    def publish(self, topic, kind, name, **data):
        self.run_verb("publish", kind, "--topic", topic, "--id", name, "--key", name, "--data", json.dumps(data))

    def test_a_message_is_produced_seen_and_found(self):
        page = self.sign_in(at="/console/topics/notes/produce")
        large = '{"n":{"big":12345678901234567890}}'
        notes = [("note.made", EVIL), ("note.made", large), ("note.gone", '{"n":{"big":1}}')]
        for number, (kind, value) in enumerate(notes):
            page.fill("[name=key]", f"note-{number}")
            page.fill("[aria-label='Value of header 1']", kind)
            page.fill("[name=value]", value)
            page.click("role=button[name='Produce']")
            page.see(f"[role=status] a:text-is('{number}')")
        page.click("nav >> text=Messages")
        wait_for(lambda: page.count(".expand") == 3, "three messages")
        page.click("[aria-label='Message 0:0']")
        page.see(".message-detail")
        self.assertEqual(page.text(".payload pre"), EVIL)
        page.click("[aria-label='Message 0:1']")
        page.see(".j-number")
        self.assertEqual(page.text(".j-number"), "12345678901234567890")
        page.click("text=Add a filter")
        page.fill("[aria-label='Filter 1: value']", "note.gone")
        page.click("role=button[name='Search']")
        wait_for(lambda: page.texts("td.key") == ["note-2"], "the only one of that type")
        self.assertIn("header=event-type%3Dnote.gone", page.evaluate("location.search"))
        page.select("[aria-label='Filter 1: what']", "json")
        page.fill("[aria-label='Filter 1: name']", "n.big")
        page.select("[aria-label='Filter 1: how']", ">")
        page.fill("[aria-label='Filter 1: value']", "5")
        page.click("role=button[name='Search']")
        page.see("[aria-label='Message 0:1']")
        wait_for(lambda: page.texts("td.key") == ["note-1"], "the only large one")
        page.call("goBack")
        wait_for(lambda: page.texts("td.key") == ["note-2"], "the search before")
        page.click("role=button[name='Live tail']")
        page.see("text=Waiting for new messages")
        kcat.write(self.kafka.address, "notes", [("late", "one more")], [("event-type", b"note.gone")])
        wait_for(lambda: page.texts("td.key") == ["late"], "the message that came")
        page.click("role=button[name='Stop']")
        page.see("text=Stopped")
        self.assertEqual(page.evaluate("document.title"), "notes · sipeat console")
        self.assertEqual((page.problems(), page.call("dialogs")), ([], []))

    def test_a_poison_event_is_edited_and_replayed(self):
        page = self.sign_in()
        self.publish("orders", "order.created", "o-bad", id="o-bad", amount="free")
        page.click("text=/dead letters? in orders-dlt/")
        page.click("tr:has-text('o-bad') a")
        page.see("text=the amount is not a number")
        self.assertIn("BAD_AMOUNT", page.text(".note"))
        page.click("role=button[name='Edit a copy']")
        page.fill("dialog [name=value]", '{"id":"o-bad","amount":')
        page.see("dialog >> text=This is not JSON")
        page.fill("dialog [name=value]", '{"id":"o-bad","amount":7}')
        page.click("role=button[name='Look first']")
        page.see("dialog >> text=It would be")
        self.fit(page, "dialog-edit")
        before = page.evaluate(WELL)
        page.click("role=button[name='Send the copy']")
        page.see("dialog >> text=It is replayed")
        page.press("Escape")
        page.see(".head >> text=replayed")
        wait_for(lambda: page.evaluate(WELL) == before + 1, "the copy handled well")
        page.click("nav >> text=Flows")
        page.see("section[aria-label='Flow orders-flow'] >> text=Finished")
        page.click(".side >> text=Audit")
        page.see("td >> text=letter")
        self.assertEqual(page.problems(), [])

    def test_many_letters_are_replayed_with_the_name_typed(self):
        for number in range(3):
            self.publish("orders", "order.created", f"o-many-{number}", id="o-many", amount="free")
        page = self.sign_in(at="/console/letters/orders-dlt?reason=BAD_AMOUNT")
        page.see("td >> text=o-many-2")
        page.click("role=button[name='Replay many']")
        page.see("role=button[name='Replay'][disabled]")
        page.click("role=button[name='Look first']")
        page.see("dialog >> text=Nothing has been sent")
        self.fit(page, "dialog-replay")
        page.fill("[name=confirm]", "orders")
        page.see("role=button[name='Replay'][disabled]")
        page.fill("[name=confirm]", "orders-dlt")
        page.click("role=button[name='Replay']")
        page.see("dialog >> text=/\\d+ replayed/")
        self.assertEqual(page.problems(), [])

    def test_a_parked_chain_is_decided(self):
        page = self.sign_in()
        self.publish("requests", "request.created", "drink-1")
        page.click("text=/chains? parked:/")
        page.click("tr:has-text('drink-1') a")
        page.see("text=In doubt: a person decides")
        page.see(".timeline >> text=dispense")
        page.click("role=button[name='Settle a step: dispense']")
        page.see("role=button[name='Settle a step'][disabled]")
        page.fill("[name=why]", "the counter went up")
        page.fill("[name=result]", "{vended}")
        page.click("role=button[name='Look first']")
        page.see("text=The result is not JSON")
        page.fill("[name=result]", '{"vended":true}')
        page.click("role=button[name='Look first']")
        page.see("dialog >> text=It would go from parked")
        self.fit(page, "dialog-settle")
        page.click("role=button[name='Settle a step']")
        page.see(".head >> .chip:text-is('done')")
        self.assertIn("the counter went up", page.text("[aria-label='What people said']"))
        self.assertIn("ada", page.text("[aria-label='What people said']"))
        page.fill("[name=q]", "drink-1")
        page.press("Enter")
        page.see(".hits >> text=Chain")
        page.see(".hits >> text=requests 0:")
        self.assertEqual(page.problems(), [])

    def test_lag_is_seen_and_offsets_are_reset(self):
        kcat.write(self.kafka.address, "reports", [(None, "1"), (None, "2"), (None, "3")])
        kcat.run(self.kafka.address, "-G", "readers", "-c", "1", "-X", "auto.offset.reset=earliest", "reports")
        page = self.sign_in(at="/console/groups")
        page.click("text=readers")
        page.see("td >> text=reports")
        page.click("role=button[name='Reset offsets']")
        page.select("[name=to]", "end")
        page.click("role=button[name='Look first']")
        page.see("[aria-label='What it would do'] >> text=3")
        self.fit(page, "dialog-reset")
        page.fill("[name=confirm]", "readers")
        page.click("role=button[name='Reset']")
        page.see("text=The offsets of readers are set")
        wait_for(lambda: page.texts(".facts dd")[1] == "0", "no lag")
        page.click("nav >> text=Consumer groups")
        page.click("td >> text=orders-flow")
        page.see(".plot canvas")
        page.click("role=button[name='Reset offsets']")
        page.see("text=The group has members")
        self.assertEqual(page.problems(), [])

    def test_a_member_without_a_partition_is_called_idle(self):
        for _ in range(2):
            reader = subprocess.Popen(["kcat", "-b", self.kafka.address, "-G", "pair", "notes"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(reader.wait)
            self.addCleanup(reader.kill)
        page = self.sign_in(at="/console/groups/pair")
        page.see("text=One member is idle: the group has more members than partitions")
        self.assertEqual(page.count("[aria-label=Members] >> text=idle"), 1)
        page.problems()  # the group was not there yet

    def test_a_script_is_reloaded_and_a_fault_is_shown(self):
        page = self.sign_in(at="/console/scripts")
        page.see("text=script.lua")
        save(self.path, SCRIPT + "\nfucntion broken() end\n")
        page.click("role=button[name='Reload']")
        page.see("text=The last reload was refused")
        self.assertIn("script.lua:", page.text(".trace"))
        save(self.path, SCRIPT + "\n-- mended\n")
        page.click("role=button[name='Reload']")
        page.see("text=Reloaded: version")
        page.see("text=The last reload was refused", "hidden")
        page.problems()  # the browser tells of the answer 409

    def test_a_topic_is_made_and_deleted_by_its_name(self):
        page = self.sign_in(at="/console/topics")
        page.click("role=button[name='Create a topic']")
        page.fill("dialog [name=name]", "short-lived")
        page.fill("[name=partitions]", "3")
        page.fill("[name=configuration]", "retention.ms=1000")
        self.fit(page, "dialog-topic")
        page.click("role=button[name='Create']")
        page.see("text=in 3 partitions")
        page.click("nav >> text=Configuration")
        page.see("tr:has-text('retention.ms') >> text=1000")
        page.click("role=button[name='Delete']")
        self.fit(page, "dialog-delete")
        page.fill("[name=confirm]", "short")
        page.see("role=button[name='Delete for ever'][disabled]")
        page.fill("[name=confirm]", "short-lived")
        page.click("role=button[name='Delete for ever']")
        page.see("text=The topic short-lived is deleted")
        self.assertNotIn("short-lived", self.kafka.wire.topics())
        self.assertEqual(page.problems(), [])

    def test_a_viewer_is_told_what_the_role_may_not_do(self):
        page = self.sign_in("eve", at="/console/topics/orders/produce")
        page.see("text=This needs the role operator")
        page.call("click", "role=button[name='Delete']", {"force": True})
        page.see(".toast >> text=This needs the role admin")
        self.assertEqual(page.count("dialog"), 0)
        self.assertNotIn("Audit", page.texts(".side li"))
        page.press("Tab")
        page.press("/")
        self.assertEqual(page.evaluate("document.activeElement.name"), "q")
        page.press("Escape")
        self.assertNotEqual(page.evaluate("document.activeElement.name"), "q")
        self.assertEqual(page.problems(), [])
        page.click("role=button[name='Sign out']")
        page.see("role=button[name='Sign in']")
        self.open(page, "topics")
        self.assertIn("/console/sign-in", page.evaluate("location.pathname"))

    def test_a_program_that_does_not_answer_is_told_and_comes_back(self):
        page = self.sign_in()
        page.see(".connection.good")
        page.call("offline", True)
        page.click(".side >> text=Brokers")
        page.see("[role=alert] >> text=The program does not answer")
        self.assertEqual(page.axe(), [])
        page.call("offline", False)
        page.click("role=button[name='Try again']")
        page.see("td >> text=controller")
        page.click(".side >> text=Topics")
        page.fill("[aria-label='Filter the topics by name']", "nothing like it")
        page.see("text=No topic has")

    def test_each_page_is_fit_for_use(self):
        self.publish("orders", "order.created", "o-look", id="o-look", amount="free")
        self.publish("requests", "request.created", "drink-look")
        page = self.sign_in()
        page.see("text=/chains? parked:/")
        found = []
        for name, path in PAGES.items():
            self.open(page, path)
            page.see("main .loading", "hidden")
            for sizes, schemes in LOOKS:
                found += page.look(name, sizes, schemes)
            self.assertEqual(page.problems(), [], name)
        page.call("resize", *PHONE)
        page.click("role=button[name='Menu']")
        page.see(".side >> text=Sign out")
        found += page.axe()
        page.shot("menu")
        self.assertEqual(found, [])

    def test_files_are_kept_for_ever_by_their_hash(self):
        page = self.sign_in(at="/console/no/such/page?x=1")
        self.assertEqual(page.evaluate("location.pathname + location.search"), "/console/no/such/page?x=1")
        names = page.evaluate("[...document.querySelectorAll('head [href^=\"/\"], head [src]')]"
                              ".map((one) => one.getAttribute('href') || one.getAttribute('src'))")
        self.assertEqual(len(names), 2)
        for name in names:
            status, headers, body = self.ask(name)
            self.assertEqual((status, headers["content-encoding"]), (200, "gzip"))
            self.assertIn("immutable", headers["cache-control"])
            self.assertLess(len(body), 70000)
            self.assertEqual(self.ask(name, if_none_match=headers["etag"])[0], 304)
        self.assertEqual(self.ask("/console/assets/console.0123456789ab.js")[0], 401)

    def ask(self, path, **headers):
        """Status, headers and body of a GET without a session."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        connection.request("GET", path, headers={"accept-encoding": "gzip",
                                                 **{name.replace("_", "-"): one for name, one in headers.items()}})
        answer = connection.getresponse()
        result = answer.status, answer.headers, answer.read()
        connection.close()
        return result


class Development(harness.Case):
    """`sipeat dev`: the link that signs in, the embedded broker, SipEat's own API."""

    def test_what_a_program_sends_is_seen_and_filtered_by_its_header(self):
        process = self.start("dev", harness.PIPELINE, "--no-watch")
        process.wait_log(": version ")
        link = wait_for(lambda: re.search(r"(http://[0-9.:]+)/console/sign-in\?code=\w+", process.output + process.log),
                        "a link that signs in")
        for kind, amount in (("created", 1500), ("paid", 1500), ("created", 700)):
            body = {"topic": "invoices", "key": "INV-001", "headers": {"event-type": kind},
                    "message": {"amount": amount}}
            sent = subprocess.run(["curl", "-sS", link[1] + "/api/kafka/produce?wait=acked", "-m", "60",
                                   "-H", "content-type: application/json", "-d", json.dumps(body)],
                                  capture_output=True, text=True, check=True)
            self.assertEqual(json.loads(sent.stdout)["topic"], "invoices", sent)
        page = self.enterContext(Browser()).page(PHONE)
        page.go(link[0])
        page.see(".figure >> text=Lag")
        page.go(link[1] + "/console/topics/invoices?header=event-type%3Dcreated")
        wait_for(lambda: page.count(".expand") == 2, "two of three")
        self.assertEqual(page.call("inputValue", "[aria-label='Filter 1: value']"), "created")
        page.click("[aria-label='Filter 1: value']")
        page.fill("[aria-label='Filter 1: value']", "paid")
        page.press("Enter")
        wait_for(lambda: page.count(".expand") == 1, "the other one")
        page.click(".expand")
        page.see(".message-detail >> text=INV-001")
        self.assertEqual(page.text(".j-number"), "1500")
        page.go(link[1] + "/console/groups")
        page.see(".limits >> text=embedded broker")
        self.assertEqual(page.axe(), [])
        self.assertFalse(page.call("wide"))


if __name__ == "__main__":
    harness.main()
