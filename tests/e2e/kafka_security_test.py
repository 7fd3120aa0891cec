"""Against a Kafka that keeps strangers out: every way in works, and every refusal says what to change.

One broker for all: TLS, PLAIN, SCRAM-SHA-512, client certificates and ACLs (support/kafka_secure.py).
"""

import json
import os
import pathlib
import tempfile

from support import harness
from support.kafka import free_ports
from support.kafka_secure import PASSWORDS, SecureKafka
from support.oauth import CLIENT, SECRET, Endpoint

WRONG = "wrong-Rt55-geheim"
NO_USER = {"KAFKA_USERNAME": None, "KAFKA_PASSWORD": None, "KAFKA_SASL_MECHANISM": None}
FLOW = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "%(topic)s", group = "%(group)s", dead_letter = false, transactional = %(transactional)s,
  on = { ["order.created"] = function(event, ctx) ctx:emit("%(out)s", event.key, event.data) end },
}
"""




class Security(harness.Case):
    @classmethod
    def setUpClass(cls):
        directory = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="sipeat-oauth-")))
        cls.tokens = cls.enterClassContext(Endpoint(directory))
        cls.kafka = cls.enterClassContext(SecureKafka(jwks=cls.tokens.jwks))
        cls.certificate, cls.key = cls.kafka.authority.issue("marie")
        for topic in ("orders", "results", "secret"):
            cls.kafka.wire.create_topic(topic)
        for user in ("ada", "grace", "marie", CLIENT):
            cls.kafka.allow(user, "topic", "orders", "read", "write", "describe")
            cls.kafka.allow(user, "topic", "results", "write", "describe")
            cls.kafka.allow(user, "group", f"{user}-", "read", "describe", prefixed=True)

    def close_all(self):
        super().close_all()
        said = "\n".join(process.log + process.output for process in self.processes)
        key = self.key.read_text().splitlines()[1]
        for secret in (*PASSWORDS.values(), WRONG, SECRET, key):
            self.assertNotIn(secret, said)
        for path in filter(pathlib.Path.is_file, self.dir.rglob("*")):  # journal, outbox and whatever a run leaves
            left = path.read_bytes()
            self.assertFalse(any(secret.encode() in left for secret in (*PASSWORDS.values(), WRONG)), path)

    def ways_in(self):
        mutual = self.kafka.environment(at="mutual", **NO_USER, KAFKA_SSL_CERT=self.certificate, KAFKA_SSL_KEY=self.key)
        return {CLIENT: self.by_token(), "ada": self.kafka.environment("ada"),
                "grace": self.kafka.environment("grace"), "marie": mutual}

    def by_token(self, **others):
        return self.kafka.environment(**NO_USER, **{
            "KAFKA_OAUTH_URL": self.tokens.url, "KAFKA_OAUTH_CLIENT_ID": CLIENT, "KAFKA_OAUTH_CLIENT_SECRET": SECRET,
            "KAFKA_OAUTH_SCOPE": "kafka", **others})

    def flow(self, env, **settings):
        text = FLOW % {"topic": "orders", "out": "results", "transactional": "false", **settings}
        port = free_ports(1)[0]
        process = self.start("run", "--no-embedded", "--state", "off", self.script(text, f"{settings['group']}.lua"),
                             env=env | {"SIPEAT_HTTP": f"127.0.0.1:{port}"})
        process.url = f"http://127.0.0.1:{port}"
        return process

    def reasons(self, process, part):
        """What /ready says once it says that."""
        def look():
            status, body = harness.get(process.url + "/ready")
            return body.decode() if status == 503 and part in body.decode() else None
        return process.until(look, lambda: f"{part!r} in /ready: {harness.get(process.url + '/ready')}")

    def expect(self, process, code, *parts):
        self.assertEqual(process.wait(60), code, process.tail())
        for part in parts:
            self.assertIn(part, process.log)

    def test_plain_scram_and_client_certificates_work_for_every_verb(self):
        for user, env in self.ways_in().items():
            with self.subTest(user=user):
                self.works(user, env)

    def works(self, user, env):
        listed = self.run_sipeat("topic", "list", "--json", env=env)
        self.assertEqual(listed.returncode, 0, listed.tail())
        self.assertEqual([json.loads(line)["name"] for line in listed.out], ["orders", "results"])
        data = json.dumps({"user": user})
        sent = self.run_sipeat("publish", "order.created", "-t", "orders", "-k", user, "--data", data, env=env)
        self.assertEqual(sent.returncode, 0, sent.tail())
        read = self.run_sipeat("consume", "orders", "--from-beginning", "--max", self.kafka.wire.count("orders"),
                               "--timeout", "30s", env=env)
        self.assertIn(user, read.output, read.tail())
        self.assertNotIn("authorization", read.log.lower())
        before = self.kafka.wire.count("results")
        flow = self.flow(env, group=f"{user}-flow")
        flow.until(lambda: self.kafka.wire.count("results") > before, "a result", 60)
        self.assertEqual(flow.stop(), 0, flow.tail())
        shown = self.run_sipeat("group", "show", f"{user}-flow", "--json", env=env)
        self.assertEqual(shown.returncode, 0, shown.tail())
        self.assertIn('"orders"', shown.output)

    def test_the_console_reads_a_cluster_that_asks_for_a_user(self):
        port = free_ports(1)[0]
        env = self.kafka.environment("grace", SIPEAT_ACCESS=self.dir / "access.db")
        token = self.run_sipeat("token", "add", "test", "--role", "viewer", env=env).output.split()[-1]
        console = self.start("console", "--http", f"127.0.0.1:{port}", env=env)
        url = f"http://127.0.0.1:{port}/console/api/topics"

        def topics():
            status, body = harness.get(url, Authorization=f"Bearer {token}")
            return status == 200 and body.decode()
        shown = console.until(topics, "the topics")
        self.assertIn('"orders"', shown)
        self.assertNotIn('"secret"', shown)
        self.assertEqual(console.stop(), 0, console.tail())

    def test_what_keeps_a_client_out_is_said_with_what_to_change(self):
        kafka = self.kafka
        user = "check KAFKA_USERNAME, KAFKA_PASSWORD"
        cases = [
            (kafka.environment("ada", KAFKA_PASSWORD=WRONG), "Invalid username or password", user),
            (kafka.environment("grace", KAFKA_PASSWORD=WRONG), "invalid credentials", user),
            (kafka.environment("ada", KAFKA_USERNAME="nobody"), "Invalid username or password", user),
            (kafka.environment("ada", KAFKA_SASL_MECHANISM="SCRAM-SHA-256"), "Unsupported SASL mechanism",
             "PLAIN,SCRAM-SHA-512", "set KAFKA_SASL_MECHANISM"),
            (kafka.environment("ada", "expired"), "certificate has expired", "clock right?"),
            (kafka.environment("ada", "stranger"), "not for this host name", "KAFKA_BROKERS has to name the host"),
            (kafka.environment("ada", KAFKA_SSL_CA=None), "nobody who is trusted here has signed", "KAFKA_SSL_CA"),
            (self.by_token(KAFKA_OAUTH_CLIENT_SECRET=WRONG), "refused with status 401", "KAFKA_OAUTH_"),
            (self.by_token(KAFKA_OAUTH_URL="http://127.0.0.1:1/"), "OAUTHBEARER", "KAFKA_OAUTH_"),
            (kafka.environment(at="mutual", **NO_USER), "wants a certificate of the client", "KAFKA_SSL_CERT"),
            ({"KAFKA_BROKERS": kafka.at["secure"]}, "KAFKA_SECURITY_PROTOCOL=ssl"),
            (kafka.environment("ada", KAFKA_BROKERS=kafka.address), "handshake of TLS", "KAFKA_SECURITY_PROTOCOL"),
        ]
        started = [(self.start("topic", "list", env=env), parts) for env, *parts in cases]  # each waits for 10 s
        for process, parts in started:
            self.expect(process, 4, *parts)

    def test_what_is_missing_is_said_before_anything_is_asked(self):
        cases = [
            ({"KAFKA_SSL_CA": "/no/ca.pem"}, 5, "KAFKA_SSL_CA: cannot read /no/ca.pem"),
            ({"KAFKA_PASSWORD": None}, 5, "KAFKA_PASSWORD is not"),
            ({"KAFKA_OAUTH_URL": "http://x/"}, 5, "KAFKA_OAUTH_CLIENT_SECRET is not"),
            ({"KAFKA_SASL_MECHANISM": "GUESS"}, 4, "Unsupported SASL mechanism: GUESS"),
        ]
        for change, code, part in cases:
            process = self.start("topic", "list", env=self.kafka.environment("ada", **change))
            self.expect(process, code, part)

    def test_a_run_that_is_kept_out_goes_on_trying_and_says_why(self):
        cases = {
            "password": (self.kafka.environment("ada", KAFKA_PASSWORD=WRONG), "Invalid username or password"),
            "expired": (self.kafka.environment("ada", "expired"), "certificate has expired"),
            "stranger": (self.kafka.environment("ada", "stranger"), "not for this host name"),
            "token": (self.by_token(KAFKA_OAUTH_CLIENT_SECRET=WRONG), "refused with status 401"),
        }
        started = [(self.flow(env, group=name), part) for name, (env, part) in cases.items()]
        for process, part in started:
            process.wait_log(part)
            self.assertIn("no broker answers", self.reasons(process, part))
            spent = cpu_seconds(process)
            self.assertEqual(process.stop(), 0, process.tail())
            self.assertLess(process.log.count(part), 4, "it is said again and again")
            self.assertLess(spent, 5, "it spins")

    def test_a_missing_right_is_named(self):
        env = self.kafka.environment("ada")
        cases = {
            "ada-read": ({"topic": "secret"}, "Read to consume"),
            "other": ({}, "Read in the group"),
            "ada-transaction": ({"transactional": "true"}, "Write to the transactional id"),
        }
        started = [(self.flow(env, group=group, **settings), part) for group, (settings, part) in cases.items()]
        sent = self.run_sipeat("publish", "order.created", "-t", "orders", "--data", "{}", env=env)
        self.assertEqual(sent.returncode, 0, sent.tail())
        for process, part in started:
            process.wait_log(part)
            if "transaction" not in str(process.command):
                self.reasons(process, part)
            process.stop()
        for verb, code, *parts in [
                (("publish", "x", "-t", "secret", "-d", "{}"), 1, "Write to produce"),
                (("consume", "secret"), 4, "Read to consume"),
                (("topic", "create", "mine"), 4, "Create to make it"),
                (("group", "show", "others"), 4, "Read in the group")]:
            self.expect(self.start(*verb, env=env), code, *parts)

    def test_an_output_without_the_right_to_write_is_named(self):
        self.kafka.allow("grace", "group", "writer", "read", "describe")
        process = self.flow(self.kafka.environment("grace"), group="writer", out="secret")
        sent = self.run_sipeat("publish", "order.created", "-t", "orders", "--data", "{}",
                               env=self.kafka.environment("grace"))
        self.assertEqual(sent.returncode, 0, sent.tail())
        process.wait_log("Write to produce")
        self.assertIsNone(process.popen.poll())
        process.stop()


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    harness.main()
