"""A stream of keyed events, a flow that handles it, and a witness that looks at what became of each event.

Some events fail at first, some always, most wait a little. What must hold, whatever happened in between: every event
has a result or, when it always fails, a dead letter; nothing else is there; and the first results of a key's events
stand in the order of the events.
"""

import json

from support import kcat
from support.kafka_wire import WireError

FAILS_ALWAYS, FAILS_AT_FIRST = 211, 37  # each n-th event
SCRIPT = """
local sipeat = require "sipeat"

local function handle(event, ctx)
  local n = event.data.n
  ctx:sleep((n %% 7 + 2) .. "ms")
  if n %% %d == 0 then
    error("event " .. n .. " always fails")
  elseif n %% %d == 0 and ctx.attempt == 1 then
    return nil, "not yet"
  end
  ctx:emit("results", event.key, event.id)
end

sipeat.flow {
  topic = "stream", group = "stream", key = "data.key", concurrency = %d,
  retry = { attempts = 3, backoff = { "5ms", "50ms" } }, on = { ["stream.event"] = handle },
}
"""


class Stream:
    """`address` of the brokers, and how much there is of what. `topics` names what it needs, with partitions."""

    topics = {"stream": 6, "results": 4, "stream-dlt": 6}

    def __init__(self, address, events, keys=401):
        self.address, self.events, self.keys = address, events, keys

    @staticmethod
    def script(concurrency=16):
        return SCRIPT % (FAILS_ALWAYS, FAILS_AT_FIRST, concurrency)

    def key(self, n):
        return f"k{n % self.keys}"

    def write(self, first=0, last=None):
        """Writes the events from `first` up to `last` (default: all)."""
        kcat.write(self.address, "stream", [(self.key(n), json.dumps(
            {"id": f"e{n}", "type": "stream.event", "data": {"n": n, "key": self.key(n)}}))
            for n in range(first, self.events if last is None else last)])

    def results(self):
        """The numbers of the events that have a result, as the topic has them, by key."""
        found = {}
        for record in kcat.read(self.address, "results"):
            found.setdefault(record.key.decode(), []).append(int(record.value[1:]))
        return found

    def dead(self):
        """{number of an event: how many dead letters it has}"""
        found = {}
        for record in kcat.read(self.address, "stream-dlt"):
            number = json.loads(record.value)["data"]["n"]
            found[number] = found.get(number, 0) + 1
            assert record.text("sipeat-error-code") == "SCRIPT_ERROR", record.headers
            assert f"event {number} always fails" in record.text("kafka_dlt-exception-message"), record.headers
        return found

    def witness(self, case):
        """Checks what must hold. How many results there are beyond one for each event."""
        poison = set(range(0, self.events, FAILS_ALWAYS))
        dead, results = self.dead(), self.results()
        case.assertEqual(set(dead), poison, "dead letters")
        seen, more, out_of_order = set(), sum(dead.values()) - len(dead), []
        for key, numbers in results.items():
            last = -1
            for number in numbers:
                case.assertEqual(self.key(number), key)
                if number in seen:
                    more += 1
                    continue
                seen.add(number)
                if number < last:
                    out_of_order.append((key, last, number))
                last = number
        case.assertEqual(seen, set(range(self.events)) - poison, "events with a result")
        case.assertEqual(out_of_order, [], "first results out of order: (key, earlier, later)")
        return more


def finish(case, kafka, process, group="stream", topic="stream", deadline=60):
    """Waits until the group has finished the topic, and ends the process."""
    lag = [None]

    def none_left():
        try:
            lag[0] = kafka.wire.lag(group, topic)
        except WireError as error:  # a broker that has just started
            lag[0] = error
        return lag[0] == 0

    process.until(none_left, lambda: f"lag 0, but {lag[0]}", deadline, every=0.2)
    case.assertEqual(process.stop(), 0, process.tail())
