"""TLS of our own, and nginx in front as docs/http.md sets it up: addresses, https, ids, live events, uploads."""

import concurrent.futures
import json
import pathlib
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import warnings

from support import harness
from support.harness import SOURCE, free_ports, wait_for
from support.http_certificate import self_signed

SCRIPT = """
local http = require "sipeat.http"
local task = require "sipeat.task"
http.route("GET /who", function(req)
  return { json = { client = req.client, remote = req.remote, secure = req.secure, id = req.id } }
end)
http.route("POST /size", { max_body_bytes = "20mb" }, function(req) return tostring(#req.body) end)
http.route("GET /events", function()
  return http.sse(function(send)
    for i = 1, 3 do
      send("tick " .. i)
      task.sleep("200ms")
    end
  end)
end)
http.route("GET /large", function() return { text = ("a line that repeats\\n"):rep(2000) } end)
"""


def certificate(directory, name="own"):
    """Paths of a certificate for localhost that signs itself, and of its key."""
    place = pathlib.Path(directory) / name
    place.mkdir()
    return map(pathlib.Path, self_signed(place))


class Web(harness.Case):
    def serve(self, *arguments, env=None):
        self.port = free_ports(1)[0]
        path = self.script(SCRIPT)
        self.server = self.start("run", path, "--http", f"127.0.0.1:{self.port}", "--no-watch", "--no-embedded",
                                 "-b", "127.0.0.1:9", "--state", "off", *arguments, env=env)
        self.server.wait_runs()

    def open(self, url, cert=None, data=None, **headers):
        context = ssl.create_default_context(cafile=cert) if cert else None
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, dict(answer.headers), answer.read()


class Tls(Web):
    def test_https_is_served_with_its_own_certificate(self):
        cert, key = certificate(self.dir)
        self.serve("--http-tls-cert", cert, "--http-tls-key", key)
        base = f"https://localhost:{self.port}"
        _, _, body = self.open(base + "/who", cert)
        self.assertTrue(json.loads(body)["secure"])
        self.assertEqual(self.open(base + "/size", cert, data=b"x" * 3_000_000)[2], b"3000000")
        self.assertEqual(len(self.open(base + "/large", cert)[2]), 40000)
        self.assertIn(b"tick 3", self.open(base + "/events", cert)[2])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.open(base + "/who", cert)[0], range(40)))
        self.assertEqual(answers, [200] * 40)
        with self.assertRaises(urllib.error.URLError):  # nobody trusts it by itself
            self.open(base + "/who")

    def test_old_versions_and_plain_requests_are_refused(self):
        cert, key = certificate(self.dir)
        self.serve("--http-tls-cert", cert, "--http-tls-key", key)
        versions = {}
        for name in ("TLSv1_1", "TLSv1_2", "TLSv1_3"):
            context = ssl.create_default_context(cafile=cert)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            with warnings.catch_warnings(action="ignore"):  # an old version is what is tried
                context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, name)
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain, \
                        context.wrap_socket(plain, server_hostname="localhost") as secure:
                    versions[name] = secure.version()
            except (ssl.SSLError, ConnectionError) as problem:
                versions[name] = type(problem).__name__
        self.assertEqual((versions["TLSv1_2"], versions["TLSv1_3"]), ("TLSv1.2", "TLSv1.3"))
        self.assertNotEqual(versions["TLSv1_1"], "TLSv1.1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as plain:
            plain.sendall(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = plain.recv(1000)
        self.assertNotIn(b"200 OK", answer)

    def test_files_that_cannot_be_are_named(self):
        cert, key = certificate(self.dir)
        _, other_key = certificate(self.dir, "other")
        cases = {("nowhere.pem", key): "nowhere.pem", (cert, key.with_name("none.key")): "none.key",
                 (cert, other_key): "of each other", (cert, ""): "tls_key"}
        for (first, second), part in cases.items():
            with self.subTest(part):
                arguments = ["--http-tls-cert", first, *(["--http-tls-key", second] if second else [])]
                process = self.run_sipeat("run", self.script(SCRIPT), "--http", "127.0.0.1:0", "--no-embedded", "-b",
                                          "127.0.0.1:9", "--state", "off", *arguments)
                self.assertNotEqual(process.returncode, 0)
                self.assertIn(part, process.log + process.output)


class Proxy(Web):
    def nginx(self, cert, key):
        """nginx with the server of docs/http.md, with our ports and files. Its port."""
        text = re.search(r"```nginx\n(.*?)```", (SOURCE / "docs/http.md").read_text(), re.S)[1]
        port = free_ports(1)[0]
        for old, new in {"127.0.0.1:3000": f"127.0.0.1:{self.port}", "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                         "/etc/ssl/vending.pem": str(cert), "/etc/ssl/vending.key": str(key)}.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        folders = "".join(f"{kind}_temp_path {self.dir}/{kind};\n"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        path = pathlib.Path(self.dir) / "nginx.conf"
        path.write_text(f"daemon off;\nmaster_process off;\npid {self.dir}/nginx.pid;\nerror_log stderr;\n"
                        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{text}}}\n")
        log = (pathlib.Path(self.dir) / "nginx.log").open("wb")
        popen = subprocess.Popen(["nginx", "-p", self.dir, "-c", path, "-e", "stderr"], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log)

        def end():
            popen.terminate()
            popen.wait(30)
            log.close()

        self.addCleanup(end)

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, "nginx", 20)
        return port

    def test_the_documented_nginx_passes_on_who_asks(self):
        cert, key = certificate(self.dir)
        self.serve(env={"SIPEAT_PROXY": "127.0.0.1"})
        base = f"https://localhost:{self.nginx(cert, key)}"
        _, headers, body = self.open(base + "/who", cert, **{"X-Forwarded-For": "203.0.113.9"})
        who = json.loads(body)
        self.assertEqual((who["client"], who["remote"]), ("203.0.113.9", "127.0.0.1"))  # 127.0.0.1 added itself
        self.assertTrue(who["secure"])
        self.assertEqual(headers["x-request-id"], who["id"])
        self.assertRegex(who["id"], r"^[0-9a-f]{32}$")  # nginx's
        self.assertEqual(self.open(base + "/size", cert, data=b"x" * 15_000_000)[2], b"15000000")
        plain = json.loads(self.open(f"http://127.0.0.1:{self.port}/who")[2])
        self.assertEqual((plain["client"], plain["secure"]), ("127.0.0.1", False))

    def test_events_come_through_the_proxy_as_they_happen(self):
        cert, key = certificate(self.dir)
        self.serve(env={"SIPEAT_PROXY": "127.0.0.1"})
        port, context, came = self.nginx(cert, key), ssl.create_default_context(cafile=cert), []
        with urllib.request.urlopen(f"https://localhost:{port}/events", timeout=20, context=context) as answer:
            for line in answer:
                if line.startswith(b"data"):
                    came.append(time.monotonic())
        self.assertEqual(len(came), 3)
        self.assertGreater(came[2] - came[0], 0.2)  # not all at the end

    def test_from_strangers_the_headers_say_nothing(self):
        self.serve(env={"SIPEAT_PROXY": "192.0.2.1"})
        url = f"http://127.0.0.1:{self.port}/who"
        body = self.open(url, **{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"})[2]
        who = json.loads(body)
        self.assertEqual((who["client"], who["secure"]), ("127.0.0.1", False))


if __name__ == "__main__":
    harness.main()
