#!/usr/bin/env python3
"""A Sentry project that takes envelopes, as strict as its documentation (develop.sentry.dev: envelopes, events).

    with FakeSentry() as sentry:
        run_something(SENTRY_DSN=sentry.dsn)
        sentry.events()                     the events that were taken

Answers for next(): limited (429 with X-Sentry-Rate-Limits), limited_plain (429 with Retry-After), limits_later (200,
and limits from now on), other_limit (200, and a limit of another category), broken (500), dropped (no answer), hung
(none before release()).
"""

import json
import re
import threading

from support.fake_service import FakeService, Reply

KEY, PROJECT = "0123456789abcdef0123456789abcdef", "42"
LEVELS = {"fatal", "error", "warning", "info", "debug"}
ITEM_BYTES = 1024 * 1024
TAG = re.compile(r"[A-Za-z0-9_.:-]{1,32}")


class Bad(Exception):
    """What is wrong with an envelope."""


def need(condition, why):
    if not condition:
        raise Bad(why)


def envelope(body):
    """The header of an envelope, and the JSON of its only item."""
    need(b"\r\n" not in body, "lines end with LF, not CRLF")
    head, _, rest = body.partition(b"\n")
    header = json.loads(head)
    need(re.fullmatch(r"[0-9a-f]{32}", header.get("event_id", "")), "event_id of the envelope")
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", header.get("sent_at", "")), "sent_at")
    line, _, rest = rest.partition(b"\n")
    item = json.loads(line)
    need(item.get("type") == "event", "one item of the type event")
    length = item["length"]
    need(length <= ITEM_BYTES, "an event has 1 MB at most")
    need(len(rest) >= length and rest[length:] in (b"", b"\n"), "the payload has `length` bytes, and an LF or the end")
    return header, json.loads(rest[:length])


def check_frames(frames):
    need(isinstance(frames, list) and frames, "frames")
    for frame in frames:
        need(isinstance(frame.get("filename"), str) and frame["filename"], "a frame's filename")
        need(isinstance(frame.get("in_app"), bool), "a frame's in_app")
        need(isinstance(frame.get("lineno", 1), int), "a frame's lineno")


def check_exceptions(event):
    values = event["exception"]["values"]
    need(values, "exception.values")
    for value in values:
        need(isinstance(value.get("type"), str) and isinstance(value.get("value"), str), "type and value")
        need(isinstance(value["mechanism"]["type"], str), "mechanism.type")
        need(isinstance(value["mechanism"]["handled"], bool), "mechanism.handled")
        if "stacktrace" in value:
            check_frames(value["stacktrace"]["frames"])


def check_event(event):
    need(re.fullmatch(r"[0-9a-f]{32}", event.get("event_id", "")), "event_id")
    need(isinstance(event.get("timestamp"), (int, float)), "timestamp")
    need(event.get("platform") in ("other", "c", "native"), "platform")
    need(event.get("level") in LEVELS, "level")
    need(len(event.get("release", "")) <= 200 and "\n" not in event.get("release", ""), "release")
    for name, value in event.get("tags", {}).items():
        need(TAG.fullmatch(name), f"the tag's name {name!r}")
        need(isinstance(value, str) and 0 < len(value) <= 200 and "\n" not in value, f"the tag {name}")
    need(all(isinstance(part, str) for part in event.get("fingerprint", [])), "fingerprint")
    for crumb in event.get("breadcrumbs", {"values": []})["values"]:
        need(crumb["level"] in LEVELS and isinstance(crumb["timestamp"], (int, float)), "a breadcrumb")
    check_exceptions(event)


class FakeSentry(FakeService):
    answers = ("limited", "limited_plain", "limits_later", "other_limit", "broken", "dropped", "hung")

    def __init__(self, **options):
        self.taken, self.refused, self.gate = [], [], threading.Event()
        super().__init__(**options)
        self.dsn = self.url.replace("://", f"://{KEY}@") + f"/sentry/{PROJECT}"

    def release(self):
        self.gate.set()

    def close(self):
        self.gate.set()
        super().close()

    def events(self):
        with self.lock:
            return list(self.taken)

    def check(self, request):
        need(request.method == "POST" and request.raw_path == f"/sentry/api/{PROJECT}/envelope/", "the address")
        need(request.headers.get("content-type") == "application/x-sentry-envelope", "content-type")
        auth = dict(part.strip().split("=", 1)
                    for part in request.headers.get("x-sentry-auth", "").removeprefix("Sentry ").split(","))
        need(auth.get("sentry_version") == "7" and auth.get("sentry_key") == KEY and auth.get("sentry_client"), "auth")
        header, event = envelope(request.body)
        check_event(event)
        need(header["event_id"] == event["event_id"], "one event_id")
        return event

    def reply(self, request):
        with self.lock:
            answer = self.take_answer(*self.answers)
        if answer == "limited":
            return Reply(429, {}, {"X-Sentry-Rate-Limits": "60:transaction:key, 3600:error;default:organization"})
        if answer == "limited_plain":
            return Reply(429, {}, {"Retry-After": "3600"})
        if answer == "broken":
            return Reply(500, {}, {"X-Sentry-Error": "out of order"})
        if answer == "dropped":
            return Reply(200, drop=True)
        if answer == "hung":
            self.gate.wait(120)
            return Reply(503, drop=True)
        try:
            event = self.check(request)
        except (Bad, ValueError, KeyError, TypeError) as error:
            with self.lock:
                self.refused.append(repr(error))
            return Reply(400, {"detail": repr(error)}, {"X-Sentry-Error": str(error)})
        with self.lock:
            self.taken.append(event)
        headers = {"limits_later": {"X-Sentry-Rate-Limits": "3600::organization"},
                   "other_limit": {"X-Sentry-Rate-Limits": "3600:transaction:key"}}.get(answer, {})
        return Reply(200, {"id": event["event_id"]}, headers)
