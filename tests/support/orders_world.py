"""The inputs of the orders example's test, and what must come of them, worked out apart from the program."""

import json
import random

EVENTS = ("created", "state_changed", "payment_processed", "shipper_assigned", "cancelled", "delivered")
SOLD_OUT, PORTIONS = "last-portions", 10  # a food of which there are this many
FEE_MINOR = 50


class Order:
    """One order: what it costs, and its kind: plain, declined, scarce (of the food that runs out) or held."""

    def __init__(self, number, kind, seed):
        chance = random.Random(seed * 1_000_003 + number)
        self.id, self.user, self.kind = f"order-{number}", f"user-{number // 2}", kind
        self.lines = [self.line(chance) for _ in range(chance.randint(1, 3))]
        if kind == "scarce":
            self.lines = [(SOLD_OUT, 1250, 1, 0)]
        elif kind == "held":
            self.lines = [("banquet", 60000 + chance.randint(0, 99), 1, 0)]
        self.total = FEE_MINOR + sum(unit * quantity - off for _, unit, quantity, off in self.lines)
        self.released = number % 2 == 0
        self.version = ("1.0", "1.0", "1.1", "2.0")[number % 4]

    @staticmethod
    def line(chance):
        unit, quantity = chance.randint(1, 2999), chance.randint(1, 4)
        return f"food-{chance.randint(1, 40)}", unit, quantity, chance.choice((0, 0, chance.randint(0, unit)))

    def data(self):
        """As that version has it. Decimals are written from integers: no float is in between."""
        more = {"paymentMethod": "pm_card_chargeDeclined"} if self.kind == "declined" else {}
        if self.version == "2.0":
            items = [{"foodId": food, "unitMinor": unit, "quantity": quantity, "discountMinor": off}
                     for food, unit, quantity, off in self.lines]
            return {"restaurantId": "rest-1", "items": items, "totalMinor": self.total, "currency": "EUR", **more}
        if self.version == "1.1":
            more["currency"] = "EUR"
        return {"restaurantId": "rest-1", "totalPrice": self.total / 100, "orderDetails": self.details(), **more}

    def details(self):
        return [{"foodId": food, "foodName": food.title(), "price": unit / 100, "quantity": quantity,
                 "discount": off / 100}
                for food, unit, quantity, off in self.lines]

    def event(self):
        return {"id": f"event-{self.id}", "type": "order.created", "orderId": self.id, "userId": self.user,
                "data": self.data(), "occurredAt": "2026-01-01T12:00:00Z", "version": self.version}

    def request(self):
        return {"userId": self.user, "restaurantId": "rest-1", "orderDetails": self.details()}


def kind_of(number, count):
    if number % 50 == 7:
        return "declined"
    if number % max(100, count // 200) == 13:
        return "held"
    return "scarce" if number % max(50, count // 100) == 21 else "plain"


def orders(count, seed):
    return [Order(number, kind_of(number, count), seed) for number in range(count)]


def expected(inputs):
    """Sums in minor units and final states."""
    scarce = [order for order in inputs if order.kind == "scarce"]
    served = min(PORTIONS, len(scarce))
    captured = sum(order.total for order in inputs if order.kind in ("plain", "held")) + served * (1250 + FEE_MINOR)
    rejected = [order for order in inputs if order.kind == "held" and not order.released]
    delivered = sum(order.kind == "plain" or order.kind == "held" and order.released for order in inputs) + served
    return {"captured": captured, "refunded": sum(order.total for order in rejected), "refunds": len(rejected),
            "delivered": delivered, "cancelled": len(inputs) - delivered}


def write_file(path, inputs, topic):
    """One event a line, as sipeat publish --file takes them."""
    with open(path, "w", encoding="utf-8") as out:
        for order in inputs:
            line = {"topic": topic, "key": order.id, "value": json.dumps(order.event())}
            out.write(json.dumps(line) + "\n")
