"""Raw hostile requests (tests/vectors/http-hostile.json), each with the answers that it gets.

The list says what is sent, piece by piece, which statuses come back, and whether the server closes the connection. In
a text, <<…*N>> stands for N repetitions of what is between, and {x*N} for N times x. What is smuggled reaches nobody,
and a good request is answered after all of them. Further ones are made from the list, by a seed: cut anywhere, or with
bytes changed."""

import concurrent.futures
import json
import os
import random
import re
import resource
import selectors
import socket
import time

from support import harness
from support.harness import SOURCE, wait_for

SCRIPT = """
local http = require "sipeat.http"
local smuggled = 0
http.route("GET /ok", function() return "ok" end)
http.route("GET /smuggled", function() smuggled = smuggled + 1 return "smuggled" end)
http.route("GET /count", function() return tostring(smuggled) end)
http.route("GET /files/*", function(req) return req.params["*"] end)
http.route("GET /header", function(req) return { text = "", headers = { ["x-value"] = req.query.value } } end)
http.route("POST /echo", function(req) return req.body end)
http.route("POST /json", function(req)
  local value, message = req:json()
  return value == nil and http.problem(400, message) or { json = value }
end)
http.route("POST /form", function(req)
  local form, message = req:form()
  return form and { json = form } or http.problem(400, message)
end)
http.route("POST /upload", function(req)
  local form, message, code = req:multipart()
  return form and { json = form.fields } or http.problem(code == "TOO_BIG" and 413 or 400, message)
end)
local server = assert(http.listen("127.0.0.1:0", {
  header_timeout = "1s", body_timeout = "1s", idle_timeout = "%s", max_body_bytes = "256kb",
  max_connections = 20000, max_per_client = 20000,
}))
require("sipeat.log").new("test"):info("hostile on " .. server.address)
"""

CASES = json.loads((SOURCE / "tests/vectors/http-hostile.json").read_text())
SOAK = "SIPEAT_SOAK" in os.environ


def expand(text):
    """The bytes of a text of the list."""
    text = re.sub(r"<<(.*?)\*(\d+)>>", lambda m: grow(m[1]) * int(m[2]), text, flags=re.S)
    return text.encode("latin-1")


def grow(text):
    return re.sub(r"\{(.)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)


def take_response(data):
    """(status, rest) of the first whole response in `data`, or None."""
    head, found, rest = data.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", head)
    if not found or not status:
        return None
    if status[1] == b"100":
        return take_response(rest)
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    size = int(length[1]) if length else 0
    return (int(status[1]), rest[size:]) if len(rest) >= size else None


class Client:
    """A connection, and the responses that came on it."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=10)
        self.data, self.statuses, self.closed, self.reset = b"", [], False, False

    def send(self, pieces):
        try:
            for i, piece in enumerate(pieces):
                if i > 0:
                    time.sleep(0.02)  # so that they come as pieces
                self.socket.sendall(piece)
        except OSError:
            pass  # the server has closed: seen by read

    def read(self, count, to_the_end, deadline=6):
        """Until that many responses are there, and the connection has ended if it shall."""
        end = time.monotonic() + deadline
        while (len(self.statuses) < count or to_the_end) and not self.closed and time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                got = self.socket.recv(65536)
            except TimeoutError:
                return
            except OSError:
                got, self.reset = b"", True
            self.closed = not got
            self.data += got
            while (taken := take_response(self.data)) is not None:
                status, self.data = taken
                self.statuses.append(status)

    def is_open(self):
        """Whether it answers once more."""
        before = len(self.statuses)
        self.send([b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"])
        self.read(before + 1, False)
        return self.statuses[before:] == [200]


class Server(harness.Case):
    def listen(self, idle="2s"):
        path = self.script(SCRIPT % idle)
        self.server = self.start("run", path, "--http", "off", "--no-watch", "-b", "127.0.0.1:9", "--no-embedded",
                                 "--state", "off")
        line = self.server.wait_log("hostile on ")
        host, port = re.search(r"hostile on ([\d.]+):(\d+)", line).groups()
        self.address = (host, int(port))

    def ask(self, path="/ok"):
        client = Client(self.address)
        client.send([f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()])
        client.socket.settimeout(10)
        answer = b""
        while got := client.socket.recv(65536):
            answer += got
        client.socket.close()
        return answer.partition(b"\r\n\r\n")[2].decode()


class Hostile(Server):
    def play(self, case):
        """What is wrong with the server's answer to it, or None."""
        client = Client(self.address)
        try:
            client.send([expand(piece) for piece in case["send"]])
            if case.get("half_closed"):
                client.socket.shutdown(socket.SHUT_WR)
            expected = case["expect"]
            client.read(len(expected), case.get("closed", False))
            if client.statuses != expected:
                return f"answered {client.statuses}, not {expected}; rest {client.data[:80]!r}, closed {client.closed}"
            if case.get("closed") and not client.closed:
                return "the connection stays open"
            if case.get("closed") is False and not client.is_open():
                return "the connection is not kept"
        finally:
            client.socket.close()
        return None

    def test_each_request_gets_its_answer(self):
        self.listen()
        self.assertGreaterEqual(len(CASES), 60)
        self.assertEqual(len({case["name"] for case in CASES}), len(CASES))
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(self.play, CASES))
        wrong = [f"{case['name']}: {why}" for case, why in zip(CASES, outcomes) if why]
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual(self.ask("/count"), "0", "something was smuggled")
        self.assertEqual(self.ask(), "ok")

    def spoil(self, chooser):
        """Bytes of a request of the list, with something wrong in them."""
        data = bytearray(b"".join(expand(piece) for piece in chooser.choice(CASES)["send"])[:20000])
        for _ in range(chooser.randint(1, 4)):
            at = chooser.randrange(len(data) + 1)
            kind = chooser.randrange(4)
            if kind == 0:
                del data[at:]
            elif kind == 1:
                del data[at:at + chooser.randint(1, 8)]
            elif kind == 2:
                data[at:at] = chooser.choice([b"\r\n", b"\n", b"\0", b" ", b":", b"%", b"0", b"\xff", b"/../"])
            elif at < len(data):
                data[at] = chooser.randrange(256)
        return bytes(data)

    def test_spoilt_requests_do_no_harm(self):
        self.listen()
        seed = int(os.environ.get("SIPEAT_SEED", random.randrange(1 << 30)))
        chooser, end = random.Random(seed), time.monotonic() + (600 if SOAK else 4)

        def throw(data):
            client = Client(self.address)
            client.send([data])
            client.socket.close()

        with self.subTest(seed=seed), concurrent.futures.ThreadPoolExecutor(16) as pool:
            while time.monotonic() < end:
                list(pool.map(throw, [self.spoil(chooser) for _ in range(200)]))
                self.assertEqual(self.ask(), "ok")
        self.assertIsNone(self.server.popen.poll())


class Many(Server):
    COUNT = 10000 if SOAK else 1000

    def test_idle_connections_cost_little_and_are_cut(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = self.COUNT + 200
        if limit[0] < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(limit[1], needed)))  # the server inherits it
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        self.listen(idle="20s" if SOAK else "4s")
        before = self.server.rss_mb()
        clients = [Client(self.address) for _ in range(self.COUNT)]
        self.addCleanup(lambda: [client.socket.close() for client in clients])
        for client in clients:  # each is served once, and then stays
            client.send([b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"])
        for client in clients:
            client.read(1, False, 30)
            self.assertEqual(client.statuses, [200])
        began = time.monotonic()
        self.assertEqual(self.ask(), "ok")
        self.assertLess(time.monotonic() - began, 2)
        each_kb = (self.server.rss_mb() - before) * 1024 / self.COUNT
        print(f"{self.COUNT} idle connections: {each_kb:.1f} KB each", flush=True)
        self.assertLess(each_kb, 40)
        waiting = selectors.DefaultSelector()
        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ)

        def all_cut():
            for key, _ in waiting.select(0.1):
                self.assertEqual(key.fileobj.recv(10), b"")
                waiting.unregister(key.fileobj)
            return not waiting.get_map()

        wait_for(all_cut, "the end of each idle connection", 90)
        waiting.close()
        self.assertEqual(self.ask(), "ok")


if __name__ == "__main__":
    harness.main()
