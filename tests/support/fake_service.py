"""The part that fakes of JSON services share: a server in a thread, answers on demand, a view of the state.

A subclass has reply(request) -> Reply and state() -> something JSON can hold. Every fake also answers
    GET  /_state      its state                 POST /_control   {"next": [answer, ...]} or {"reset": true}
An answer of the control is a name that the subclass knows; it is used up by the next request that can take it.
"""
import argparse
import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_BODY_BYTES = 1024 * 1024


class Request:
    """One request: method, path (decoded), query (pairs), headers (lower-case names), body (bytes)."""

    def __init__(self, method, target, headers, body):
        parts = urlsplit(target)
        self.method = method
        self.path = unquote(parts.path)
        self.raw_path = parts.path
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body


class Reply:
    """A status, something for JSON (None: no body; bytes: plain text) and headers; `drop` closes the connection
    instead, `late` is for the fake."""

    def __init__(self, status, value=None, headers=None, drop=False, late=False):
        self.status, self.value, self.headers, self.drop, self.late = status, value, headers or {}, drop, late


class Server(ThreadingHTTPServer):
    """Counts its connections."""

    daemon_threads = True

    def __init__(self, service, address):
        self.service = service
        super().__init__(address, service._handler())

    def process_request(self, request, client_address):
        with self.service.lock:
            self.service.connected += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        with self.service.lock:
            self.service.connected -= 1

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # whoever asked may be killed any time
            super().handle_error(request, client_address)


class FakeService:
    """Serves from the moment it is made until close()."""

    answers = ()

    def __init__(self, host="127.0.0.1", port=0):
        self.lock = threading.RLock()
        self.next_answers = []
        self.requests = 0
        self.connected = 0
        self.killer = None  # killer(request) may end who asks: "lost" (not heard of) or "done" (done, not answered)
        self.server = Server(self, (host, port))
        self.url = "http://%s:%d" % self.server.server_address[:2]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.daemon = True
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def next(self, *names):
        """The next requests get these answers, in order."""
        unknown = [name for name in names if name not in self.answers]
        if unknown:
            raise ValueError("unknown answers %s (known: %s)" % (unknown, ", ".join(self.answers)))
        with self.lock:
            self.next_answers.extend(names)

    def take_answer(self, *names):
        """The next answer, when it is one of these; else None."""
        with self.lock:
            if self.next_answers and self.next_answers[0] in names:
                return self.next_answers.pop(0)
        return None

    def reset(self):
        with self.lock:
            self.next_answers.clear()
            self.requests = 0

    def settle(self, deadline=30):
        """Waits until everything is done that clients asked for who are gone now, and all of them are."""
        with urllib.request.urlopen(self.url + "/_state", timeout=deadline):
            pass  # whoever connected before this did is being served now
        end = time.monotonic() + deadline
        while self.connected > 0:
            if time.monotonic() > end:
                raise AssertionError(f"{self.connected} clients are still there after {deadline} s")
            time.sleep(0.002)

    def state(self):
        return {}

    @staticmethod
    def json(request):
        """The body, when it is a JSON object; else {}."""
        try:
            value = json.loads(request.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def reply(self, request):
        raise NotImplementedError

    def _control(self, request):
        order = json.loads(request.body)
        if order.get("reset"):
            self.reset()
        self.next(*order.get("next", []))
        return Reply(200, {"ok": True})

    def _answer(self, request):
        if request.path == "/_state":
            with self.lock:
                return Reply(200, self.state())
        if request.path == "/_control":
            return self._control(request)
        with self.lock:
            self.requests += 1
        fate = self.killer and self.killer(request)
        if fate == "lost":
            return Reply(503, drop=True)
        reply = self.reply(request)
        reply.drop = reply.drop or fate == "done"
        return reply

    def _handler(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # an answer is one segment: no waiting for delayed acknowledgements
            disable_nagle_algorithm = True

            def serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                if length > MAX_BODY_BYTES:
                    self.send_error(413)
                    return
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it was killed on the way
                    self.close_connection = True
                    return
                reply = service._answer(Request(self.command, self.path, self.headers.items(), body))
                if reply.drop:
                    self.close_connection = True
                    return
                is_text = isinstance(reply.value, bytes)
                data = reply.value if is_text else b"" if reply.value is None else json.dumps(reply.value).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.value is not None:
                    kind = "text/plain" if is_text else "application/json"
                    self.send_header("Content-Type", kind + "; charset=utf-8")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = serve

            def log_message(self, *_):
                pass

        return Handler


def main(make, description, add_arguments=None):
    """Prints the fake's address, then serves until it is stopped."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    if add_arguments:
        add_arguments(parser)
    with make(parser.parse_args()) as fake:
        print(fake.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
