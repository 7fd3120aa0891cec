"""The forms of SipEat over HTTP, as a browser without JavaScript sends them, and what goes wrong there."""

import re
import signal
import threading

from support import harness
from support.harness import PIPELINE, free_ports
from support.kafka_wire import Client
from support.site import Site
from support.web import Visitor

EVIL = '<script>alert("x")</script>'
CONTACT = {"name": "Ada", "email": "ada@example.org", "message": "Hello"}
TOPIC = "sipeat.contact.events"
REQUESTS = "sipeat.request.events"


class Contact(Site):
    def test_a_message_arrives_once_however_often_it_is_sent(self):
        self.open()
        ada = self.visitor()
        page = ada.get("/")
        self.assertEqual(page.status, 200)
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])
        form = {**page.form("/"), **CONTACT}
        first = ada.post("/", form)
        self.assertEqual(first.status, 303)
        self.assertIn("We have your message", ada.get(first.location).seen)
        answers = []
        sends = [threading.Thread(target=lambda: answers.append(ada.post("/", form))) for _ in range(5)]
        for send in sends:
            send.start()
        for send in sends:
            send.join()
        self.assertEqual({(a.status, a.location) for a in answers}, {(303, first.location)})
        self.assertEqual(self.wire.count(TOPIC), 1)
        self.process.until(lambda: "is with our team" in ada.get(first.location).seen, "its end")
        self.assertEqual(sorted(mail["to"][0] for mail in self.captured("mail")),
                         ["ada@example.org", "sales@example.org"])
        self.process.until(lambda: self.captured("discord"), "a notice")
        again = ada.post("/", {**form, "message": "Another one"})
        self.assertEqual((again.status, "Another one" in again.text), (409, True))
        self.assertNotEqual(again.form("/")["csrf"], form["csrf"])
        self.assertEqual(ada.get("/contact/nothing").status, 404)

    def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(self):
        self.open()
        ada = self.visitor()
        form = {**ada.get("/").form("/"), "name": EVIL, "email": "ada", "message": " \r\n ", "phone": "1" * 51,
                "companyName": '"><b>'}
        del form["preferences.email"]
        answer = ada.post("/", form)
        self.assertEqual(answer.status, 422)
        self.assertNotIn("<script>alert", answer.text)
        self.assertNotIn('value=""><b>', answer.text)
        kept = answer.form("/")
        self.assertEqual([kept["name"], kept["email"], kept["companyName"]], [EVIL, "ada", '"><b>'])
        self.assertNotIn("preferences.email", kept)
        for field, text in (("email", "no e-mail address"), ("message", "fill this in"), ("phone", "longer than 50")):
            self.assertRegex(answer.text, f'<p class="error" id="{field}-error">[^<]*{text}')
            self.assertRegex(answer.text, f'aria-describedby="{field}-error"[^>]*aria-invalid="true"[^>]*id="{field}"')
            self.assertIn(f'href="#{field}"', answer.text)
        self.assertEqual(self.wire.count(TOPIC), 0)
        good = {**kept, "email": "ada@example.org", "message": "line\nline", "phone": ""}
        done = ada.post("/", good)
        self.assertEqual(done.status, 303, "the same form, put right")
        self.process.until(lambda: self.captured("crm"), "its row")
        self.assertEqual(self.captured("crm")[0]["row"]["name"], EVIL)

    def test_forms_of_others_and_what_is_no_form_are_refused(self):
        self.open()
        ada, eve = self.visitor(), self.visitor()
        form = {**ada.get("/").form("/"), **CONTACT}
        eve.get("/")
        for who, fields, why in ((eve, form, "another browser's token"), (self.visitor(), form, "no cookie"),
                                 (ada, CONTACT, "no token"), (ada, {**form, "csrf": "x.y.z"}, "a made up token")):
            with self.subTest(why):
                answer = who.post("/", fields)
                self.assertEqual(answer.status, 403)
                self.assertIn("Hello", answer.text)
                self.assertEqual(who.post("/", answer.form("/")).status, 303, "sent again by the page itself")
        for body, status in ((b"name=%zz", 400), (b"name=%ff%fe", 400), (b"a=" + b"x" * 9_000_000, 413)):
            with self.subTest(body[:20]):
                self.assertEqual(ada.post("/", body).status, status)
        self.assertEqual(ada.ask("PUT", "/", b"").status, 405)


class Request(Site):
    def order(self, who, machine="M12345", **fields):
        page = who.get(f"/request?machine={machine}")
        form = {**page.form("/request"), "customerName": "Grace", "email": "grace@example.org", "slot": "1", **fields}
        return who.post("/request", form)

    def wait_for(self, who, location, text):
        self.process.until(lambda: text in who.get(location).seen, lambda: who.get(location).seen)
        return who.get(location)

    def test_a_drink_is_ordered_watched_and_paid_once(self):
        self.open()
        ada = self.visitor()
        self.assertIn("Coca-Cola 2.50 EUR", ada.get("/request?machine=M12345").seen)
        page = ada.get("/request?machine=M12345")
        form = {**page.form("/request"), "customerName": EVIL, "email": "ada@example.org", "slot": "1"}
        answers = [ada.post("/request", form) for _ in range(3)]
        self.assertEqual({(a.status, a.location) for a in answers}, {(303, answers[0].location)})
        here = answers[0].location
        page = self.wait_for(ada, here, "Your Coca-Cola is out")
        self.assertRegex(page.seen, "Payment done . The machine dispenses done . Receipt by e-mail done")
        self.assertNotIn("data-live", page.text)
        stream = ada.get(here + "/events")
        self.assertEqual(stream.headers["content-type"], "text/event-stream")
        self.assertIn("event: progress", stream.text)
        self.assertTrue(stream.text.rstrip().endswith("event: end\ndata:"), stream.text[-80:])
        self.assertEqual(self.wire.count(REQUESTS), 1)
        self.assertEqual(len([p for p in self.captured("payment") if p.get("status") == "succeeded"]), 1)
        self.assertIn("19 of 20", ada.get("/machines/M12345").seen)
        self.assertNotIn("<script>alert", page.text)

    def test_a_page_is_live_while_the_chain_runs(self):
        self.open(env={"SIPEAT_SIM_DISPENSE_TIME": "1s"})
        ada = self.visitor()
        here = self.order(ada).location
        self.assertIn(f'data-live="{here}/events"', ada.get(here).text)
        shown = [part for part in ada.get(here + "/events").text.split("event: ") if part.startswith("progress")]
        self.assertGreaterEqual(len(shown), 2)
        self.assertRegex(shown[-2], "The machine dispenses</span><span class=\"state\">under way")
        self.assertIn("Your Coca-Cola is out", shown[-1])

    def test_what_cannot_be_had_is_said_and_the_money_comes_back(self):
        self.open(self.breakable())
        ada = self.visitor()
        declined = self.order(ada, paymentMethod="pm_card_chargeDeclined").location
        page = self.wait_for(ada, declined, "No drink this time")
        self.assertIn("Your card was declined. You have not been charged.", page.seen)
        self.assertRegex(page.seen, "set aside taken back ! Payment failed – The machine dispenses left out")
        self.wait_for(ada, self.order(ada).location, "is out")
        self.assertEqual(ada.ask("POST", "/test/break/M12345?kind=jam").status, 200)
        jammed = self.order(ada).location
        page = self.wait_for(ada, jammed, "You get your money back: 2.50 EUR")
        self.assertRegex(page.seen, "Payment taken back ! The machine dispenses failed")
        self.assertEqual(self.order(ada, slot="9").status, 422)
        self.assertIn("Please choose a drink", self.order(ada, slot="").seen)
        answer = self.order(ada, **{"price.1": "100 EUR"})
        self.assertEqual(answer.status, 422)
        self.assertIn("Coca-Cola costs 2.50 EUR now", answer.seen)
        self.assertEqual(answer.form("/request")["price.1"], "250 EUR")
        self.assertEqual(self.order(ada, machineId="M0").status, 422)
        answer = self.order(ada, customerName="", email="x")
        self.assertEqual(answer.status, 422)
        self.assertRegex(answer.text, '<p class="error" id="customerName-error">Please fill this in.')
        missing = ada.get("/request?machine=<b>")
        self.assertEqual((missing.status, "<b>" in missing.text), (404, False))
        self.assertEqual(ada.get("/request/nothing").status, 404)
        self.assertEqual(ada.get("/request/nothing/events").status, 404)

    def test_the_reason_is_said_before_the_end_is_noted(self):
        self.open(self.breakable(), env={"TEST_NOTE_PAUSE": "1h"})
        ada = self.visitor()
        declined = self.order(ada, paymentMethod="pm_card_chargeDeclined").location
        told = ada.get(declined + "/events").text.split("event: ")  # until it has ended
        self.assertIn("Your card was declined. You have not been charged.", told[-2])

    def test_without_a_journal_the_end_is_told_all_the_same(self):
        self.open(self.breakable(), env={"SIPEAT_JOURNAL": "none"})
        ada = self.visitor()
        page = self.wait_for(ada, self.order(ada).location, "Your Coca-Cola is out")
        self.assertRegex(page.seen, "Payment done . The machine dispenses done")
        self.assertEqual(ada.ask("POST", "/test/break/M12345?kind=jam").status, 200)
        page = self.wait_for(ada, self.order(ada).location, "You get your money back: 2.50 EUR")
        self.assertRegex(page.seen, "Payment taken back ! The machine dispenses failed")


SLOT = {"slots.1.drink": "Tea", "slots.1.stock": "3", "slots.1.capacity": "5", "slots.1.price": "1,20"}
MACHINE = {"machineId": "M7", "machineName": "Canteen", "location.address": "7 High Street", **SLOT}


class Machines(Site):
    def test_a_machine_is_set_up_step_by_step_and_serves(self):
        self.open()
        ada = self.visitor()
        page = ada.get("/machines/new")
        form = {**page.form("/machines"), **MACHINE}
        more = ada.post("/machines", {**form, "more": "yes"})
        self.assertEqual(more.status, 200)
        grown = more.form("/machines")
        self.assertEqual((grown["slots.8.slot"], grown["slots.1.drink"]), ("8", "Tea"))
        answers = [ada.post("/machines", form) for _ in range(2)]
        self.assertEqual({(a.status, a.location) for a in answers}, {(303, answers[0].location)})
        here = answers[0].location
        stream = ada.get(here + "/events").text
        self.process.until(lambda: "The machine is ready" in ada.get(here).seen, lambda: ada.get(here).seen)
        for name in ("Location", "Board", "Inventory", "Network", "Maintenance plan", "Ready to serve"):
            self.assertRegex(ada.get(here).seen, f"{name} done")
        self.assertIn("event: progress", stream)
        self.assertIn("Canteen", ada.get("/machines").seen)
        self.assertIn("3 of 5 1.20 EUR", ada.get("/machines/M7").seen)
        self.assertIn("Tea 1.20 EUR", ada.get("/request?machine=M7").seen)
        self.assertEqual(self.wire.count("sipeat.machine.events"), 1)

    def test_what_the_commands_would_refuse_stands_beside_its_field(self):
        self.open()
        ada = self.visitor()
        form = {**ada.get("/machines/new").form("/machines"), **MACHINE, "location.address": "-",
                "network.mode": "static", "network.address": "300.1.1.1", "maintenance.everyDays": "often",
                "slots.3.drink": EVIL, "slots.3.stock": "many", "slots.3.slot": "1"}
        answer = ada.post("/machines", form)
        self.assertEqual(answer.status, 422)
        self.assertRegex(answer.text, 'id="slots-3-stock-error">A whole number')
        self.assertNotIn("<script>alert", answer.text)
        self.assertIn('href="#slots-3-stock">Row 3, Stock', answer.text)
        answer = ada.post("/machines", {**form, "slots.3.stock": "1", "slots.3.price": "x"})
        self.assertRegex(answer.text, 'id="slots-3-price-error">Such as 2.50')
        answer = ada.post("/machines", {**form, "slots.3.stock": "1", "slots.3.price": ""})
        self.assertRegex(answer.text, 'id="slots-3-slot-error">slot 1 is there twice')
        self.assertRegex(answer.text, 'id="location-address-error">an address is needed')
        self.assertRegex(answer.text, 'id="network-address-error">a static network needs an address')
        self.assertRegex(answer.text, 'id="maintenance-everyDays-error">1 to 365')
        self.assertEqual(self.wire.count("sipeat.machine.events"), 0)


class Guarded(harness.Case):
    def start_without_kafka(self, env=None):
        self.port, broker = free_ports(2)
        self.base = f"http://127.0.0.1:{self.port}"
        process = self.start("run", PIPELINE, "--no-watch", "--http", f"127.0.0.1:{self.port}",
                             env={"KAFKA_BROKERS": f"127.0.0.1:{broker}", "SIPEAT_DB": self.dir / "db", **(env or {})})
        process.wait_log("listening on")
        process.until(lambda: harness.get(self.base + "/")[0] == 200, "its pages")
        return process

    def test_the_machine_admin_needs_an_operator(self):
        self.start_without_kafka()
        ada = Visitor(self.base)
        page = ada.get("/machines")
        self.assertEqual((page.status, page.location), (303, "/console/sign-in?next=%2Fmachines"))
        self.assertEqual(ada.ask("GET", "/machines").status, 401)
        self.assertEqual(ada.post("/machines", MACHINE).status, 401)
        token = self.run_sipeat("token", "add", "ci", "--role", "operator").output.split()[-1]
        viewer = self.run_sipeat("token", "add", "guest", "--role", "viewer").output.split()[-1]
        operator = Visitor(self.base, authorization=f"Bearer {token}")
        self.assertEqual(operator.get("/machines").status, 200)
        self.assertEqual(Visitor(self.base, authorization=f"Bearer {viewer}").get("/machines").status, 403)
        self.assertEqual(operator.post("/machines", MACHINE).status, 403, "without the form's key")

    def test_an_operator_who_has_signed_in_sends_forms_of_the_session(self):
        self.start_without_kafka()
        (self.dir / "password").write_text("correct horse battery")
        self.assertEqual(self.run_sipeat("user", "add", "ada", "--role", "operator", "--password-file",
                                         self.dir / "password").returncode, 0)
        ada = Visitor(self.base)
        sign_in = ada.get("/console/sign-in?next=/machines/new")
        action = re.search('action="([^"]+)"', sign_in.text)[1]
        entered = {**sign_in.form(action), "name": "ada", "password": "correct horse battery"}
        self.assertEqual(ada.post(action, entered).status, 303)
        form = {**ada.get("/machines/new").form("/machines"), **MACHINE}
        self.assertEqual(ada.post("/machines", {**form, "csrf": "x"}).status, 403)
        self.assertEqual(ada.post("/machines", {**form, "key": "x"}).status, 403)
        answer = ada.post("/machines", form)
        self.assertEqual((answer.status, answer.form("/machines")["key"]), (503, form["key"]))
        self.assertIn("machine.set_up", self.run_sipeat("audit").output)

    def test_a_form_keeps_what_was_entered_while_kafka_is_away(self):
        self.start_without_kafka()
        ada = Visitor(self.base)
        form = {**ada.get("/").form("/"), **CONTACT, "message": "Do not lose this"}
        for _ in range(2):
            answer = ada.post("/", form)
            self.assertEqual(answer.status, 503)
            self.assertIn("could not be sent just now", answer.seen)
            kept = answer.form("/")
            self.assertEqual([kept[name] for name in ("name", "email", "message", "csrf")],
                             ["Ada", "ada@example.org", "Do not lose this", form["csrf"]])
        self.assertEqual(ada.post_json("/api/contacts", CONTACT).status, 503)

    def test_a_form_that_was_on_its_way_when_kafka_froze_arrives_once(self):
        kafka = self.start("dev", self.script("return 0", "empty.lua"), "--no-watch")
        kafka.until(lambda: "Ctrl-C" in kafka.output, "its banner")
        broker = re.search(r"broker +([\d.:]+)", kafka.output)[1]
        process = self.start_without_kafka({"KAFKA_BROKERS": broker, "SIPEAT_WEB_PATIENCE": "500ms"})
        process.until(lambda: harness.get(self.base + "/ready")[0] == 200, "ready")
        ada = Visitor(self.base)
        form = {**ada.get("/").form("/"), **CONTACT}
        kafka.popen.send_signal(signal.SIGSTOP)
        for _ in range(2):
            self.assertEqual(ada.post("/", form).status, 503)
        kafka.popen.send_signal(signal.SIGCONT)
        answer = process.until(lambda: ada.post("/", form).location, "it is sent")
        process.until(lambda: "is with our team" in ada.get(answer).seen, lambda: ada.get(answer).seen)
        self.assertEqual(Client(broker).count(TOPIC), 1)

    def test_with_the_outbox_a_form_is_taken_while_kafka_is_away(self):
        self.start_without_kafka({"SIPEAT_WEB_OUTBOX": "1"})
        ada = Visitor(self.base)
        form = {**ada.get("/").form("/"), **CONTACT}
        answers = [ada.post("/", form) for _ in range(2)]
        self.assertEqual({(a.status, a.location) for a in answers}, {(303, answers[0].location)})
        self.assertIn("We have your message", ada.get(answers[0].location).seen)
        metrics = harness.get(self.base + "/metrics")[1].decode()
        self.assertIn("sipeat_outbox_queued_records 1\n", metrics)


if __name__ == "__main__":
    harness.main()
