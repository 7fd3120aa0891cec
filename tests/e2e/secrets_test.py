"""Secrets, from wherever they come, are in nothing that a run writes: output, log, dead letters, traces, files.

Sealed fields are in nothing either, but for the handler that has the key.
"""

import http.server
import os
import pathlib
import threading

from support import harness

FROM_ENV, FROM_FILE, FROM_SYSTEMD = "env-kR7Qx-geheim", "file-mW2Lp-geheim", "cred-tY9Bv-geheim"
CARD = "4242-9917-geheim"
SCRIPT = """
local sipeat = require "sipeat"
local log = require("sipeat.log").new "shop"
local secrets = { sipeat.secret "API_KEY", sipeat.secret "DB_PASSWORD", sipeat.secret "HOOK" }
assert(sipeat.env.reveal(secrets[2]) == sipeat.env.require "DB_PASSWORD")
local lengths = {}
for i, secret in ipairs(secrets) do
  lengths[i] = #sipeat.env.reveal(secret)
end
log:info("lengths " .. table.concat(lengths, " "))
log:info("as text: " .. tostring(secrets[1]), { key = secrets[1], all = secrets })
print(secrets[1], secrets[2], secrets[3])
local Paid = sipeat.event.define("order.paid", { order = "string", card = "string" }, {
  sealed = { "card" }, topic = "orders",
})
sipeat.flow {
  topic = "orders", group = "g", retry = { attempts = 1 },
  on = {
    [Paid] = function(event, ctx)
      log:info("card of " .. #event.data.card .. " characters", { event = event.id })
      ctx:publish(assert(Paid:new({ order = "copy", card = event.data.card }, { topic = "copies" })))
      require("sipeat.trace").span("charge", { ["api.key"] = tostring(secrets[1]) }, function() end)
      local ok, why = pcall(sipeat.json.encode, { key = secrets[2] })
      log:info("json: " .. tostring(ok) .. " " .. tostring(why))
      sipeat.http.get("http://127.0.0.1:1/", { headers = { authorization = secrets[1] }, timeout = "1s" })
      error("refused with " .. tostring(secrets[3]) .. " by " .. tostring(secrets))
    end,
  },
}
sipeat.task.spawn(function()
  assert(sipeat.publish(Paid, { order = "A1", card = sipeat.env.get "CARD" }))
end)
"""


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *unused):
        pass


class Secrets(harness.Case):
    def collector(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def environment(self):
        credentials = self.dir / "credentials"
        credentials.mkdir()
        (credentials / "HOOK").write_text(FROM_SYSTEMD + "\n")
        (credentials / "password").write_text(FROM_FILE + "\n")
        keys = self.run_sipeat("key", "new", "k1")
        self.assertEqual(keys.returncode, 0, keys.tail())
        (credentials / "SEAL_KEYS").write_text(keys.output + "\n")
        return {"API_KEY": FROM_ENV, "DB_PASSWORD_FILE": credentials / "password", "CARD": CARD,
                "CREDENTIALS_DIRECTORY": credentials}, keys.out[1].split()[-1]

    def test_nothing_that_a_run_writes_has_a_secret(self):
        env, key = self.environment()
        server = self.collector()
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        state = self.dir / "state"
        state.mkdir()
        process = self.start("dev", self.script(SCRIPT), "--log-format", "json", "--state", state, env=env)
        process.wait_log(f"lengths {len(FROM_ENV)} {len(FROM_FILE)} {len(FROM_SYSTEMD)}")
        process.wait_log(f"card of {len(CARD)} characters")
        process.wait_log("refused with ***")
        process.wait_log("dead letter")
        letters = self.run_sipeat("dlq", "show", "orders-dlt", "0:0", "--json")
        if letters.returncode != 0:  # of which partition it is nobody has to know
            letters = self.run_sipeat("consume", "orders-dlt", "--from-beginning", "-n", "1", "--timeout", "20s")
        self.assertIn("sealed:1:k1:", letters.output, letters.tail())
        process.until(lambda: any(b"charge" in body for body in server.bodies), "a trace", 60)
        self.assertEqual(process.stop(), 0, process.tail())
        written = [process.log.encode(), process.output.encode(), letters.output.encode(), *server.bodies]
        for folder, _, names in os.walk(self.dir):
            if "credentials" not in folder:
                written += [pathlib.Path(folder, name).read_bytes() for name in names]
        self.assertIn("***", process.output)
        for secret in (FROM_ENV, FROM_FILE, FROM_SYSTEMD, CARD, key):
            self.assertFalse(any(secret.encode() in text for text in written), secret)

    def test_a_file_that_cannot_be_read_is_said_without_its_content(self):
        text = 'require("sipeat").secret "TOKEN"\n'
        process = self.run_sipeat("run", self.script(text), env={"TOKEN_FILE": "/no/such/file"})
        self.assertEqual(process.returncode, 3, process.tail())
        self.assertIn("TOKEN_FILE: cannot read /no/such/file", process.log)
        (self.dir / "big").write_bytes(b"x" * 70_000)
        process = self.run_sipeat("run", self.script(text), env={"TOKEN_FILE": self.dir / "big"})
        self.assertIn("no text of at most 64 KiB", process.log)

    def test_the_password_of_kafka_may_be_in_a_file(self):
        (self.dir / "password").write_text("pw-Lk3-geheim\n")
        env = {"KAFKA_BROKERS": "127.0.0.1:1", "KAFKA_USERNAME": "ada", "KAFKA_PASSWORD_FILE": self.dir / "password"}
        process = self.run_sipeat("topic", "list", env=env)
        self.assertNotIn("KAFKA_PASSWORD is not", process.log)
        self.assertIn("list topics", process.log)
        self.assertNotIn("geheim", process.log)


if __name__ == "__main__":
    harness.main()
