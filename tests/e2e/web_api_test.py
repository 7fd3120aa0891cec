"""The API of SipEat: what it takes and answers, what it refuses, and that its document says the truth."""

import json
import os
import re
import uuid

from support import harness, schemathesis
from support.harness import PIPELINE
from support.site import Site
from support.web import Visitor

CONTACT = {"name": "Ada", "email": "ada@example.org", "message": "Hello"}
REQUEST = {"customerName": "Ada", "machineId": "M12345", "drinkName": "espresso"}
MACHINE = {"machineId": "M9", "machineName": "Hall", "type": "offline", "location": {"address": "9 Elm Street"},
           "slots": [{"slot": 1, "drink": "Tea", "stock": 2, "price": 1.2}]}
SOAK = os.environ.get("SIPEAT_SOAK")


class Api(Site):
    def errors(self, answer, status=422):
        self.assertEqual((answer.status, answer.headers["content-type"]), (status, "application/problem+json"))
        return {error["field"]: error["code"] for error in answer.json()["errors"]}

    def test_contacts_requests_and_machines(self):
        self.open()
        ada = self.visitor()
        key = str(uuid.uuid4())
        taken = [ada.post_json("/api/contacts?wait=acked", CONTACT, idempotency_key=key) for _ in range(3)]
        self.assertEqual({(a.status, a.location) for a in taken}, {(202, f"/api/contacts/{key}")})
        self.assertEqual(taken[0].json(), {"id": key, "status": f"/api/contacts/{key}"})
        self.assertEqual(self.ended(taken[0].location)["state"], "done")
        self.assertEqual(self.wire.count("sipeat.contact.events"), 1)
        other = ada.post_json("/api/contacts", {**CONTACT, "message": "Other"}, idempotency_key=key)
        self.assertEqual((other.status, other.json()["code"]), (409, "KEY_REUSED"))
        self.assertEqual(ada.post_json("/api/contacts", CONTACT, idempotency_key="a b").status, 400)

        status = ada.post_json("/api/requests", REQUEST).location
        state = self.ended(status)
        self.assertEqual(state["state"], "done")
        self.assertEqual([(s["name"], s["state"]) for s in state["steps"]],
                         [(name, "done") for name in ("inventory", "payment", "dispense", "record")])
        self.assertEqual([p["amount_minor"] for p in self.captured("payment") if p.get("amount_minor")], [180])
        answer = ada.post_json("/api/requests", {**REQUEST, "paymentMethod": "pm_card_chargeDeclined"})
        declined = self.ended(answer.location)
        self.assertEqual([declined[name] for name in ("state", "failed", "why")],
                         ["failed", "payment", "CARD_DECLINED"])

        setup = ada.post_json("/api/machines", MACHINE)
        self.assertEqual(self.ended(setup.location)["state"], "done")
        self.assertEqual(ada.ask("GET", "/api/machines/M9").json(), {
            "machineId": "M9", "name": "Hall", "type": "offline", "status": "active", "address": "9 Elm Street",
            "slots": [{"slot": 1, "drink": "Tea", "stock": 2, "price": 1.2, "currency": "EUR"}]})
        self.assertIn("M9", [m["machineId"] for m in ada.ask("GET", "/api/machines").json()["machines"]])
        for path in ("/api/machines/M0", "/api/requests/x", f"/api/requests/{key}", "/api/setups/x"):
            self.assertEqual(ada.ask("GET", path).status, 404, path)

    def test_what_is_refused(self):
        self.open()
        ada = self.visitor()
        self.assertEqual(self.errors(ada.post_json("/api/contacts", {"name": " ", "email": "x", "mesage": 1})),
                         {"name": "blank", "email": "type", "message": "missing", "mesage": "unknown"})
        self.assertEqual(self.errors(ada.post_json("/api/contacts?wait=x&y=1", CONTACT), 400),
                         {"wait": "not_listed", "y": "unknown"})
        self.assertEqual(self.errors(ada.post_json("/api/requests", {**REQUEST, "amount": 0.01, "payment": "free"})),
                         {"amount": "unknown", "payment": "unknown"})
        for changes in ({"drinkName": "Beer"}, {"machineId": "M0"}, {"slot": 99}, {"slot": 1}):
            self.assertEqual(self.errors(ada.post_json("/api/requests", {**REQUEST, **changes})),
                             {"drinkName": "not_offered"})
        wrong = {**MACHINE, "type": "x", "location": "-", "network": {"mode": "static"}, "driver": {"name": "x"},
                 "maintenance": {"everyDays": 0}, "slots": []}
        self.assertEqual(self.errors(ada.post_json("/api/machines", wrong)), dict.fromkeys(
            ("type", "location", "network.address", "driver.name", "maintenance.everyDays", "slots"), "refused"))
        deep = b'{"name":' + b"[" * 10000 + b"]" * 10000 + b"}"
        for body, headers, status in (
                (b"{", {}, 400), (b"", {}, 400), (b"null", {}, 422), (b'"x"', {}, 422), (deep, {}, 400),
                (b'{"name":"\xff"}', {}, 400), (b'{"name":"\xed\xa0\x80"}', {}, 400),
                (b"{}" + b" " * 9_000_000, {}, 413),
                (json.dumps(CONTACT), {"content_type": "text/plain"}, 415),
                (json.dumps(CONTACT), {"content_type": "application/x-www-form-urlencoded"}, 415)):
            with self.subTest(body[:20], status=status):
                answer = ada.post_json("/api/contacts", body, **headers)
                self.assertEqual((answer.status, answer.headers["content-type"]), (status, "application/problem+json"))
                self.assertEqual(answer.json()["status"], status)
        self.assertEqual(self.wire.count("sipeat.contact.events"), 0)

    def test_produce(self):
        self.open(env={"SIPEAT_PRODUCE_TOPICS": "invoices, orders.*"})
        ada = self.visitor()
        message = {"invoiceId": "INV-001", "action": "created", "amount": 1500}
        body = {"topic": "invoices", "key": "INV-001", "headers": {"event-type": "created"}, "message": message}
        answer = ada.post_json("/api/kafka/produce", body)
        self.assertEqual((answer.status, answer.json()["topic"], answer.json()["queued"]), (202, "invoices", True))
        self.assertEqual(answer.json()["status"], answer.location)

        def state():
            return ada.ask("GET", answer.location).json()
        self.process.until(lambda: state()["state"] == "written", state)
        self.assertEqual((state()["topic"], state()["offset"]), ("invoices", 0))
        self.assertEqual(ada.ask("GET", "/api/kafka/produce/nothing").status, 404)
        self.assertEqual(self.wire.count("invoices"), 1)
        answer = ada.post_json("/api/kafka/produce?wait=acked", {**body, "message": "as it is"})
        self.assertEqual((answer.status, answer.json()["topic"], answer.json()["offset"]), (200, "invoices", 1))
        lines = self.run_sipeat("consume", "invoices", "--from-beginning", "--max", "2", "--json",
                                env={"KAFKA_BROKERS": self.broker}).output.splitlines()
        records = [json.loads(line) for line in lines]
        self.assertEqual([record["key"] for record in records], ["INV-001", "INV-001"])
        self.assertIn("created", json.dumps(records[0]["headers"]))
        self.assertEqual(ada.post_json("/api/kafka/produce?wait=acked", {**body, "topic": "orders.eu"}).status, 200)
        for topic in ("secrets", "invoices2", "xinvoices", "orders", "__consumer_offsets"):
            refused = ada.post_json("/api/kafka/produce", {**body, "topic": topic})
            self.assertEqual((refused.status, refused.json()["code"]), (403, "TOPIC_NOT_ALLOWED"))
        for topic in ("..", "a b", "a/b", "ä"):
            refused = ada.post_json("/api/kafka/produce", {**body, "topic": topic})
            self.assertEqual(self.errors(refused), {"topic": "type"})
        self.assertEqual(self.errors(ada.post_json("/api/kafka/produce", {**body, "headers": {"a": 1}})),
                         {"headers.a": "type"})
        refused = ada.post_json("/api/kafka/produce", {"topic": "invoices"})
        self.assertEqual(self.errors(refused), {"message": "missing"})
        evil = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
        self.assertEqual(ada.post_json("/api/kafka/produce", body, **evil).status, 401)
        self.assertEqual(ada.post_json("/api/kafka/produce", body, host="evil.example").status, 401)
        self.assertEqual(self.wire.count("secrets"), 0)

    def test_what_programs_produce_is_in_the_audit(self):
        self.open(env={"SIPEAT_ACCESS": self.dir / "access.db"})
        env = {"SIPEAT_ACCESS": self.dir / "access.db"}
        token = self.run_sipeat("token", "add", "ci", "--role", "operator", env=env).output.split()[-1]
        ada, body = self.visitor(), {"topic": "invoices", "message": "x"}
        for _ in range(3):
            sent = ada.post_json("/api/kafka/produce", body, authorization=f"Bearer {token}")
            self.assertEqual(sent.status, 202)
        told = [line for line in self.run_sipeat("audit", env=env).output.splitlines() if "kafka.produce" in line]
        self.assertEqual(len(told), 1, "the first at once, the others as a number after a minute")
        self.assertIn("ci", told[0])

    def test_the_document_and_its_page(self):
        self.open()
        document = self.visitor().ask("GET", "/openapi.json").json()
        self.assertEqual(document["openapi"], "3.1.0")
        self.assertEqual(set(document["paths"]), {
            "/api/contacts", "/api/contacts/{id}", "/api/requests", "/api/requests/{id}", "/api/machines",
            "/api/machines/{id}", "/api/setups/{id}", "/api/kafka/produce",
            "/api/kafka/produce/{id}"})
        fields = document["components"]["schemas"]["request"]["properties"]
        self.assertEqual(fields["customerName"], {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "\\S"})
        self.assertNotIn("amount", fields)
        self.assertEqual(document["paths"]["/api/machines"]["post"]["x-role"], "operator")
        page = self.visitor().get("/api")
        for path in document["paths"]:
            self.assertIn(path, page.seen)

    def test_the_server_does_what_its_document_says(self):
        """Every answer conforms, nothing ends in 5xx, what the document forbids is refused."""
        (port,) = harness.free_ports(1)
        base = f"http://127.0.0.1:{port}"
        process = self.start("run", PIPELINE, "--no-watch", "--http", f"127.0.0.1:{port}", env={
            "SIPEAT_DB": self.dir / "db", "SIPEAT_PRODUCE_TOPICS": "invoices"})  # with a broker inside
        process.until(lambda: harness.get(base + "/ready")[0] == 200, "ready")
        token = self.run_sipeat("token", "add", "ci", "--role", "operator").output.split()[-1]
        limits = ["--max-time", "600", "--max-examples", "100000"] if SOAK else ["--max-examples", "5"]
        seed = os.environ.get("SIPEAT_SEED", "20261121")
        status, text = schemathesis.run(base + "/openapi.json", self.dir, "--seed", seed, "--header",
                                        f"authorization: Bearer {token}", *limits)
        self.assertEqual(status, 0, text[-6000:])
        print(re.search(r"\d+ generated.*", text)[0], flush=True)
        self.assertEqual(re.search(r"Tested: (\d+)", text)[1], "10", text)
        self.assertEqual(Visitor(base).ask("GET", "/ping").status, 200)
        errors = [line for line in process.lines if line.get("module") == "http" and line["level"] == "error"]
        self.assertEqual(errors, [])


if __name__ == "__main__":
    harness.main()
