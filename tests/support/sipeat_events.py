"""3,000 SipEat events as kcat writes them: 1,000 of each type, 5% of them broken, and what must become of each.

Everything follows from the seed, so a test that fails can be run again with the same events.
"""

import json
import random

COUNT, BROKEN = 1000, 50  # of each type
BINARY = 10               # of each type: as binary CloudEvents, whose attributes are headers
TOPICS = {"contact": ("sipeat.contact.events", "contact-created"),
          "request": ("sipeat.request.events", "request-created"),
          "machine": ("sipeat.machine.events", "machine-created")}
GROUPS = {kind: f"sipeat-{kind}" for kind in TOPICS}
DRINKS = ("Espresso", "Coca-Cola", "Green Tea", "Water")
FIELDS = {"contact": ("email", "email"), "request": ("machineId", "customerName"),
          "machine": ("machineId", "machineName")}  # key, and what identifies the event in a notice


class Event:
    """One event: how it is written, and `ends`: "done", "dead" (refused by its handler) or "broken"."""

    def __init__(self, kind, number, data, ends="done", why=""):
        self.kind, self.number, self.data, self.ends, self.why = kind, number, data, ends, why
        self.id, self.type = f"{kind}-{number:04}", f"{kind}.created"
        self.topic = TOPICS[kind][number % 5 == 4]  # each fifth through the Kafka worker's topic
        self.key = str(data[FIELDS[kind][0]])
        self.mark = str(data[FIELDS[kind][1]])
        self.headers, self.value, self.reason = None, None, None

    def plain(self, **changes):
        event = {"id": self.id, "type": self.type, "version": "1.0", "occurredAt": "2026-01-02T03:04:05.678Z",
                 "data": self.data, **changes}
        return json.dumps({name: value for name, value in event.items() if value is not None}, ensure_ascii=False)

    def structured(self):
        return self.plain(occurredAt=None, version=None, specversion="1.0", source="/web", time="2026-01-02T03:04:05Z")

    def binary(self):
        self.headers = [("ce_specversion", "1.0"), ("ce_id", self.id), ("ce_type", self.type), ("ce_source", "/web"),
                        ("content-type", "application/json")]
        return json.dumps(self.data)


def contact(number, chance):
    data = {"name": f"Ada Żółć-{number} <b>", "email": f"c{number}@company{number}.example",
            "message": chance.choice(["Hello", "We have 25 offices and want a quote ✓ urgently.", "x" * 300])}
    kind = (None, "enterprise", "support", "partnership", "general")[number % 5]
    if kind:
        data["type"] = kind
    if number % 3:
        data["companyName"] = f"Company {number} & Söhne"
    if number % 4:
        data["phone"] = f"+49 30 {number:06}"
    wants = ({}, {}, {}, {"email": False, "sms": True}, {"email": False, "phone": True}, {"email": False})[number % 6]
    if wants:
        data["preferences"] = wants
    return Event("contact", number, data)


def machine(number, chance):
    ends, why = "done", ""
    data = {"machineId": f"M{number:05}", "machineName": f"Lobby {number}", "type": "standard",
            "location": {"address": f"{number} Main Street", "city": "Berlin", "latitude": 52.5, "longitude": 13.4},
            "slots": [{"slot": i + 1, "drink": drink, "stock": 9, "capacity": 10, "price": 1.5 + i / 4}
                      for i, drink in enumerate(DRINKS)],
            "network": {"mode": "dhcp"}, "maintenance": {"everyDays": chance.choice([7, 30])},
            "driver": {"name": "simulated", "proof": "sensor"}}
    if number % 25 == 7:
        data["network"] = {"mode": "static", "address": "300.1.2.3", "gateway": "300.1.2.1", "mask": "255.255.255.0"}
        ends, why = "dead", "network"
    return Event("machine", number, data, ends, why)


def request(number, machines, chance):
    ends, why = "done", ""
    drink = chance.choice(DRINKS)
    data = {"customerName": f"Grace {number}", "drinkName": drink, "machineId": machines[number % len(machines)]}
    if number % 2:
        data["email"] = f"r{number}@customer.example"
    if number % 3 == 0:
        data["amount"] = 1.8
    if number % 7 == 1:
        data["payment"] = chance.choice(["free", "prepaid"])
    elif number % 31 == 5:
        data["paymentMethod"] = "pm_card_chargeDeclined"
        ends, why = "dead", "payment"
    return Event("request", number, data, ends, why)


def broken(event, way):
    """Spoils an event in one of ten ways; `reason` is what the dead letter must say."""
    event.ends, whole = "broken", event.plain()
    field = FIELDS[event.kind][1]
    without = {name: value for name, value in event.data.items() if name != field}
    deep = '{"id":"%s","type":"%s","data":%s}' % (event.id, event.type, "[" * 300 + "]" * 300)
    ways = [
        ("not JSON", f"{event.id}: hello, this is a log line", "JSON"),
        ("truncated", whole[:-20], "JSON"),
        ("1 MB", whole[:-2].ljust(1_000_000, "x"), "JSON"),
        ("too deep", deep, "nested"),
        ("NUL", whole.replace('"data"', '"data\0"'), ""),
        ("broken UTF-8", whole.encode().replace(b'"1.0"', b'"1.\xc3\x28\xff"'), "UTF-8"),
        ("wrong type", event.plain(data={**event.data, field: {"not": ["a", "text"]}}), field),
        ("missing field", event.plain(data=without), field),
        ("unknown type", event.plain(type=f"{event.kind}.exploded"), f"{event.kind}.exploded"),
        ("header not text", event.plain(type=None), "header"),
    ]
    event.why, event.value, event.reason = ways[way % len(ways)]
    if event.why == "header not text":
        event.headers = [("event-type", b"\xff\xfe\x01")]
    return event


def make(seed):
    """All events, as {"contact": [...], "request": [...], "machine": [...]}."""
    chance = random.Random(seed)
    events = {
        "machine": [machine(n, chance) for n in range(COUNT)],
        "contact": [contact(n, chance) for n in range(COUNT)],
    }
    spoiled = {kind: set(chance.sample(range(COUNT), BROKEN)) for kind in TOPICS}
    good = [e.data["machineId"] for e in events["machine"] if e.ends == "done" and e.number not in spoiled["machine"]]
    events["request"] = [request(n, good, chance) for n in range(COUNT)]
    for kind, of_kind in events.items():
        for way, number in enumerate(sorted(spoiled[kind])):
            broken(of_kind[number], way)
        whole = [e for e in of_kind if e.value is None]
        for event in whole:
            event.value = event.structured() if event.number % 4 == 1 else event.plain()
        for event in chance.sample(whole, BINARY):
            event.value = event.binary()
    return events


def batches(events):
    """(topic, headers, [(key, value)]) for kcat, which writes one set of headers at a time."""
    found = {}
    for event in events:
        headers = tuple(event.headers or ())
        found.setdefault((event.topic, headers), []).append((None if event.why == "NUL" else event.key, event.value))
    return [(topic, list(headers), records) for (topic, headers), records in found.items()]
