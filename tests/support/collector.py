"""A collector of traces that takes OTLP over HTTP as JSON, as strictly as the protocol says.

What comes is read by the generated messages of opentelemetry-proto (otlp.txt), with nothing unknown in it; ids are hex,
enums are numbers, and 64-bit integers are texts, as docs/specification.md of that repository has it. `with Collector()
as collector:` serves; collector.spans() is what came. next("limited") and the like make it answer otherwise.
"""

import base64
import json
import re
import sys
import threading

from support.fake_service import FakeService, Reply
from support.pypi import packages

TRACE_ID, SPAN_ID = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{16}")
NUMBERS = {"kind", "code", "flags", "droppedAttributesCount", "doubleValue"}


def _request_class():
    place = str(packages("otlp"))
    if place not in sys.path:
        sys.path.insert(0, place)
    from google.protobuf import json_format  # pylint: disable=import-outside-toplevel
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # pylint: disable=import-outside-toplevel
    return json_format, trace_service_pb2.ExportTraceServiceRequest


def _base64_ids(value):
    """The same with ids as protobuf's JSON wants them; raises ValueError for what OTLP does not allow."""
    if isinstance(value, list):
        return [_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, item in value.items():
        if name in ("traceId", "spanId", "parentSpanId"):
            shape = TRACE_ID if name == "traceId" else SPAN_ID
            if not shape.fullmatch(item) or set(item) == {"0"}:
                raise ValueError(f"{name} is {item!r}")
            out[name] = base64.b64encode(bytes.fromhex(item)).decode()
        elif isinstance(item, (int, float)) and not isinstance(item, bool) and name not in NUMBERS:
            raise ValueError(f"{name} is a number: 64-bit integers are texts")
        elif name in ("kind", "code") and not isinstance(item, int):
            raise ValueError(f"{name} is {item!r}: enums are numbers")
        else:
            out[name] = _base64_ids(item)
    return out


class Span:
    """One span: ids in hex, attributes and events as plain values."""

    def __init__(self, raw, resource):
        self.name, self.kind = raw["name"], raw["kind"]
        self.trace, self.id, self.parent = raw["traceId"], raw["spanId"], raw.get("parentSpanId")
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        self.attributes = self.plain(raw.get("attributes", []))
        self.events = [(event["name"], self.plain(event.get("attributes", []))) for event in raw.get("events", [])]
        self.status, self.resource, self.state = raw.get("status", {}), resource, raw.get("traceState")

    @staticmethod
    def plain(attributes):
        out = {}
        for item in attributes:
            (kind, value), = item["value"].items()
            out[item["key"]] = int(value) if kind == "intValue" else value
        return out

    def __repr__(self):
        return f"{self.name} {self.id} < {self.parent} of {self.trace[:8]}"


class Collector(FakeService):
    """answers: "limited" (429, Retry-After 0), "unavailable" (503), "broken" (500), "refused" (400), "partial" (200,
    and one span rejected), "garbage" (200 with what is no JSON), "hung" (none before release())."""

    answers = ("limited", "unavailable", "broken", "refused", "partial", "garbage", "hung", "dropped")

    def __init__(self, **options):
        self.json_format, self.request_class = _request_class()
        self.taken, self.refused, self.headers, self.gate = [], [], [], threading.Event()
        super().__init__(**options)

    def release(self):
        self.gate.set()

    def close(self):
        self.gate.set()
        super().close()

    def spans(self, name=None):
        with self.lock:
            return [span for span in self.taken if name in (None, span.name)]

    def check(self, request):
        """Why the request is none of OTLP's, or None; keeps its spans."""
        if request.method != "POST" or request.path != "/v1/traces":
            return f"{request.method} {request.path}"
        if request.headers.get("content-type") != "application/json":
            return "content-type"
        try:
            raw = json.loads(request.body)
            self.json_format.ParseDict(_base64_ids(raw), self.request_class())
            spans = [Span(span, Span.plain(resource["resource"]["attributes"])) for resource in raw["resourceSpans"]
                     for scope in resource["scopeSpans"] for span in scope["spans"]]
        except (ValueError, KeyError, self.json_format.ParseError) as error:
            return repr(error)
        wrong = [span for span in spans
                 if not span.name or span.end < span.start or "service.name" not in span.resource]
        if wrong:
            return f"span {wrong[0]}"
        with self.lock:
            self.taken += spans
            self.headers.append(request.headers)
        return None

    def reply(self, request):
        with self.lock:
            answer = self.take_answer(*self.answers)
        if answer == "limited":
            return Reply(429, {}, {"Retry-After": "0"})
        if answer in ("unavailable", "broken", "refused"):
            return Reply({"unavailable": 503, "broken": 500, "refused": 400}[answer], {"message": "no"})
        if answer == "dropped":
            return Reply(200, drop=True)
        if answer == "hung":
            self.gate.wait(120)
            return Reply(503, drop=True)
        why = self.check(request)
        if why:
            with self.lock:
                self.refused.append(why)
            return Reply(400, {"message": why})
        if answer == "partial":
            return Reply(200, {"partialSuccess": {"rejectedSpans": "1", "errorMessage": "too old"}})
        return Reply(200, "x" * 100000 if answer == "garbage" else {})
