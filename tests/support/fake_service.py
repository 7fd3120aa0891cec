"""The part that fakes of JSON services share: a server in a thread, answers on demand, a view of the state.

A subclass has reply(request) -> Reply and state() -> something JSON can hold. Every fake also answers
    GET  /_state      its state                 POST /_control   {"next": [answer, ...]} or {"reset": true}
An answer of the control is a name that the subclass knows; it is used up by the next request that can take it.
"""
import argparse
import json
import threading
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
    """A status, something for JSON (None: no body) and headers; `drop` closes the connection instead."""

    def __init__(self, status, value=None, headers=None, drop=False):
        self.status, self.value, self.headers, self.drop = status, value, headers or {}, drop


class FakeService:
    """Serves from the moment it is made until close()."""

    answers = ()

    def __init__(self, host="127.0.0.1", port=0):
        self.lock = threading.RLock()
        self.next_answers = []
        self.requests = 0
        self.server = ThreadingHTTPServer((host, port), self._handler())
        self.server.daemon_threads = True
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

    def state(self):
        return {}

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
        return self.reply(request)

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
                reply = service._answer(Request(self.command, self.path, self.headers.items(), body))
                if reply.drop:
                    self.close_connection = True
                    return
                data = b"" if reply.value is None else json.dumps(reply.value).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.value is not None:
                    self.send_header("Content-Type", "application/json; charset=utf-8")
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
