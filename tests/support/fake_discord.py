#!/usr/bin/env python3
"""A Discord that only knows webhooks, and is as strict about them as the real one.

Checks every limit that Discord documents (counted in code points, after trimming), answers with its status codes,
JSON error codes and rate-limit headers, and fails on demand. It remembers what it was sent.

    with FakeDiscord(limit=5, window=2.0) as fake:
        run_something(DISCORD_WEBHOOK=fake.url)
        fake.messages()            # accepted messages, in order
        fake.embeds()              # their embeds

    python3 fake_discord.py --port 0 --random-429 0.1 --seed 7     prints its webhook's URL, then serves

Besides the webhook it has, for tests that talk to it from another process:
    GET  /_received   every request as a line of JSON    GET  /_stats   counters
    POST /_control    {"next": [answer, ...]}, {"always": answer}, {"reset": true}
An answer is one of ANSWERS, or {"status": 500, "times": 3}, {"hang": 2.5}, {"retry_after": 0.3, "global": true}.
"""
import argparse
import json
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

if __package__:
    from .fake_discord_rules import Refusal, check_message
else:
    from fake_discord_rules import Refusal, check_message

WEBHOOK_ID = "112233445566778899"
TOKEN = "fake_Token-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
PATH = re.compile(r"^/api(?:/v\d+)?/webhooks/(\d{1,20})/([^/]+)/?$")
USER_AGENT = re.compile(r"^DiscordBot \(\S+, \S+\)")
MAX_BODY_BYTES = 25 * 1024 * 1024

ANSWERS = {
    "bad_request": {"status": 400, "json": {"message": "Invalid Form Body", "code": 50035, "errors": {}}},
    "unauthorized": {"status": 401, "json": {"message": "Invalid Webhook Token", "code": 50027}},
    "forbidden": {"status": 403, "json": {"message": "Missing Permissions", "code": 50013}},
    "gone": {"status": 404, "json": {"message": "Unknown Webhook", "code": 10015}},
    "error": {"status": 500, "json": {"message": "500: Internal Server Error", "code": 0}},
    "bad_gateway": {"status": 502, "text": "<html><h1>502 Bad Gateway</h1></html>"},
    "huge": {"status": 200, "huge_bytes": 10 * 1024 * 1024},
    "cloudflare": {"status": 429, "text": "<!doctype html><title>Access denied</title>error code: 1015",
                   "headers": {"Retry-After": "1"}},
    "not_json": {"status": 429, "text": "{{{", "headers": {"Retry-After": "1"}},
    "redirect": {"status": 302, "text": "", "headers": {"Location": "http://127.0.0.1:1/elsewhere"}},
    "drop": {"drop": True},
    "hang": {"hang": 3600.0},
}


class Bucket:
    """One webhook's fixed window: `limit` messages in `window` seconds, counted from the first."""

    def __init__(self, limit, window):
        self.limit = limit
        self.window = window
        self.remaining = limit
        self.reset_at = 0.0

    def take(self, now):
        """True when the request fits."""
        if now >= self.reset_at:
            self.reset_at = now + self.window
            self.remaining = self.limit
        if self.remaining == 0:
            return False
        self.remaining -= 1
        return True

    def headers(self, now):
        left = max(0.0, self.reset_at - now)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": f"{time.time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": "80c17d2f203122d936070c88c8d10f33",
        }


class FakeDiscord:
    def __init__(self, host="127.0.0.1", port=0, limit=5, window=2.0, random_429=0.0, random_500=0.0, seed=1,
                 retry_after=0.2, webhooks=None, log=None):
        self.webhooks = dict(webhooks or {WEBHOOK_ID: TOKEN})
        self.limit, self.window = limit, window
        self.random_429, self.random_500, self.retry_after = random_429, random_500, retry_after
        self.seed = seed
        self.log = log
        self._random = random.Random(seed)
        self._lock = threading.Lock()  # guards everything below
        self._buckets = {}
        self._blocked_until = {}       # webhook id, or "global" -> monotonic time before which it was told to wait
        self._received = []
        self._next = []
        self._always = None
        self._counts = {}
        self._snowflake = 1100000000000000000
        self._stop = threading.Event()  # ends what hangs
        fake = self

        class Handler(_Handler):
            owner = fake

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.host, self.port = self._server.server_address[:2]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-discord",
                                        daemon=True)

    # --- for tests ---

    @property
    def url(self):
        return self.url_of(next(iter(self.webhooks)))

    def url_of(self, webhook_id):
        return f"http://{self.host}:{self.port}/api/webhooks/{webhook_id}/{self.webhooks[webhook_id]}"

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def received(self):
        """Every request to a webhook: {at, webhook, status, message, errors, raw_bytes}."""
        with self._lock:
            return list(self._received)

    def messages(self):
        return [r["message"] for r in self.received() if r["status"] in (200, 204)]

    def embeds(self):
        return [embed for message in self.messages() for embed in message.get("embeds") or []]

    def stats(self):
        with self._lock:
            counts = dict(self._counts)
        messages = self.messages()
        counts["accepted"] = len(messages)
        counts["embeds"] = sum(len(m.get("embeds") or []) for m in messages)
        counts["seed"] = self.seed
        return counts

    def answer_next(self, *answers):
        """Answers the next requests so, in this order, instead of looking at them."""
        with self._lock:
            for answer in answers:
                answer = _answer(answer)
                self._next.extend([answer] * int(answer.get("times", 1)))

    def answer_always(self, answer):
        """Answers every request so until told otherwise (None: behave again)."""
        with self._lock:
            self._always = None if answer is None else _answer(answer)

    def reset(self):
        with self._lock:
            self._received.clear()
            self._counts.clear()
            self._next.clear()
            self._buckets.clear()
            self._blocked_until.clear()
            self._always = None

    # --- deciding ---

    def decide(self, webhook_id, token, headers, body, query):
        """-> (record, answer): what a request is answered with. Called by many threads."""
        record = {"at": time.time(), "webhook": webhook_id, "raw_bytes": len(body)}
        now = time.monotonic()
        with self._lock:
            self._count("requests")
            answer = self._forced(webhook_id, token, now)
            if answer is None:
                answer = self._limited(webhook_id, now)
        if answer is None or answer.get("status") == 200:
            try:
                _check_headers(headers)
                record["message"] = check_message(body)
            except Refusal as refusal:
                answer = {"status": refusal.status, "json": refusal.body()}
                record["errors"] = refusal.body()
        with self._lock:
            bucket = self._buckets.get(webhook_id)
            if answer is None:
                answer = self._accept(webhook_id, record["message"], query)
            if bucket is not None and "headers" not in answer and not answer.get("global"):
                answer = dict(answer, headers=bucket.headers(time.monotonic()))
            record["status"] = answer.get("status", 0)
            self._count(f"status_{record['status']}")
            self._received.append(record)
        return record, answer

    def _count(self, name):
        self._counts[name] = self._counts.get(name, 0) + 1

    def _forced(self, webhook_id, token, now):
        for key in ("global", webhook_id):
            if now < self._blocked_until.get(key, 0.0) - 0.005:
                self._count("early")  # it came back before the time that it was told
        if self._next:
            return self._wait_answer(webhook_id, self._next.pop(0), now)
        if self._always is not None:
            return self._wait_answer(webhook_id, self._always, now)
        if webhook_id not in self.webhooks:
            return ANSWERS["gone"]
        if self.webhooks[webhook_id] != token:
            return ANSWERS["unauthorized"]
        if self.random_500 and self._random.random() < self.random_500:
            return ANSWERS["error"]
        if self.random_429 and self._random.random() < self.random_429:
            wait = round(self.retry_after * (0.5 + self._random.random()), 3)
            return self._wait_answer(webhook_id, {"retry_after": wait, "scope": "shared"}, now)
        return None

    def _limited(self, webhook_id, now):
        bucket = self._buckets.get(webhook_id)
        if bucket is None:
            bucket = self._buckets[webhook_id] = Bucket(self.limit, self.window)
        if bucket.take(now):
            return None
        self._count("over_limit")  # the headers had said that nothing was left
        return self._wait_answer(webhook_id, {"retry_after": round(bucket.reset_at - now, 3), "scope": "user",
                                              "bucket": bucket}, now)

    def _wait_answer(self, webhook_id, answer, now):
        if "retry_after" not in answer:
            return answer
        wait, everywhere = answer["retry_after"], bool(answer.get("global"))
        self._blocked_until["global" if everywhere else webhook_id] = now + wait
        headers = answer["bucket"].headers(now) if "bucket" in answer else {}
        headers["Retry-After"] = str(int(answer.get("retry_after_header", max(1, -(-wait // 1)))))
        headers["X-RateLimit-Scope"] = "global" if everywhere else answer.get("scope", "user")
        if everywhere:
            headers["X-RateLimit-Global"] = "true"
        body = {"message": "You are being rate limited.", "retry_after": wait, "global": everywhere}
        return {"status": 429, "json": body, "headers": headers}

    def _accept(self, webhook_id, message, query):
        if query.get("wait", ["false"])[0].lower() not in ("true", "1"):
            return {"status": 204}
        self._snowflake += 1
        saved = {
            "id": str(self._snowflake), "type": 0, "channel_id": "998877665544332211", "webhook_id": webhook_id,
            "content": message.get("content") or "", "embeds": message.get("embeds") or [], "mentions": [],
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime()),
        }
        return {"status": 200, "json": saved}


def _answer(answer):
    return ANSWERS[answer] if isinstance(answer, str) else dict(answer)


def _check_headers(headers):
    if not USER_AGENT.match(headers.get("User-Agent", "")):
        raise Refusal(403, 40333, "internal network error", {})
    kind = headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal.field(["_errors"], "CONTENT_TYPE_INVALID",
                            'Expected "Content-Type" header to be one of {"application/json"}.')
    if "Content-Length" not in headers and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise Refusal(411, 0, "411: Length Required", {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None
    wbufsize = 65536
    disable_nagle_algorithm = True

    def log_message(self, format, *args):  # noqa: A002 - the name is the base class's
        if self.owner.log is not None:
            self.owner.log(format % args)

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/_received":
            lines = "".join(json.dumps(r) + "\n" for r in self.owner.received())
            self._send({"status": 200, "text": lines, "headers": {"Content-Type": "application/jsonl"}})
        elif path == "/_stats":
            self._send({"status": 200, "json": self.owner.stats()})
        else:
            self._send({"status": 404, "json": {"message": "404: Not Found", "code": 0}})

    def do_POST(self):
        body = self._body()
        if body is None:
            return
        parts = urlsplit(self.path)
        if parts.path == "/_control":
            self._control(json.loads(body))
            return
        match = PATH.match(parts.path)
        if match is None:
            self._send({"status": 404, "json": {"message": "404: Not Found", "code": 0}})
            return
        _, answer = self.owner.decide(match[1], match[2], self.headers, body, parse_qs(parts.query))
        self._send(answer)

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0 or len(body) > MAX_BODY_BYTES:
                    break
        else:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length <= MAX_BODY_BYTES else b"x" * (MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send({"status": 413, "json": {"message": "Request entity too large", "code": 40005}})
            return None
        return body

    def _control(self, order):
        if order.get("reset"):
            self.owner.reset()
        if "always" in order:
            self.owner.answer_always(order["always"])
        self.owner.answer_next(*order.get("next", []))
        self._send({"status": 200, "json": {"ok": True}})

    def _send(self, answer):
        if "hang" in answer:
            self.owner._stop.wait(answer["hang"])
        if "hang" in answer or answer.get("drop"):
            self.close_connection = True
            return
        if "json" in answer:
            kind, data = "application/json", json.dumps(answer["json"]).encode()
        elif "huge_bytes" in answer:
            kind, data = "application/json", b'{"id": "1", "content": "' + b"x" * answer["huge_bytes"] + b'"}'
        else:
            kind, data = "text/html", answer.get("text", "").encode()
        headers = dict(answer.get("headers", {}))
        try:
            self.send_response(answer["status"])
            self.send_header("Content-Type", headers.pop("Content-Type", kind))
            for name, value in headers.items():
                self.send_header(name, value)
            if answer["status"] != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if answer["status"] != 204:
                self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the client did not wait for the answer


def main():
    parser = argparse.ArgumentParser(description="A strict fake of Discord's webhooks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--limit", type=int, default=5, help="messages in a window, for each webhook")
    parser.add_argument("--window", type=float, default=2.0, help="seconds")
    parser.add_argument("--random-429", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--random-500", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--retry-after", type=float, default=0.2, metavar="SECONDS", help="of a random 429")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--always", choices=sorted(ANSWERS), help="answer everything so")
    parser.add_argument("--webhook", action="append", metavar="ID/TOKEN", help="a webhook that exists; repeatable")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    webhooks = dict(pair.split("/", 1) for pair in args.webhook) if args.webhook else None
    log = (lambda line: print(line, file=sys.stderr)) if args.verbose else None
    fake = FakeDiscord(args.host, args.port, args.limit, args.window, args.random_429, args.random_500, args.seed,
                       args.retry_after, webhooks, log)
    fake.answer_always(args.always)
    with fake:
        for webhook_id in fake.webhooks:
            print(fake.url_of(webhook_id), flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
