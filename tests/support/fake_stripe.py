#!/usr/bin/env python3
"""A Stripe that knows payment intents and refunds, and is as strict about them as the real one.

Checks the key, the form, every parameter's name and value; keeps the answer to each Idempotency-Key, 500s included,
and gives it again; refuses the same key with other parameters; declines by payment method. Money moves at most once:
/_state shows every payment and refund.

    with FakeStripe() as fake:
        run_something(STRIPE_API_URL=fake.url, STRIPE_SECRET_KEY="sk_test_x")
        fake.next("error_after")      # the next payment is made, and answered with 500
        fake.state()["captured"]      # payments that succeeded

    python3 fake_stripe.py --port 0                                prints its address, then serves

Answers for next() and POST /_control: conflict (409, not kept), rate_limit (429, not kept), error (500, kept, nothing
happened), error_after (500, kept, the payment was made), drop (nothing happened, no answer), drop_after (made, no
answer), late (made, and answered after `late` seconds; meanwhile its key is in use), processing (the bank decides
later: the next GET says succeeded), refund_error (500 to a refund, not kept). fail(id, answer, …) is for the payments
of one event (metadata event_id), and forget_keys() does what a day does.
"""
import re
import threading
import time
from urllib.parse import parse_qsl

if __package__:
    from .fake_service import FakeService, Reply, main
else:
    from fake_service import FakeService, Reply, main

DECLINES = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline", "Your card was declined."),
    "pm_card_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds",
                                                "Your card has insufficient funds."),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", "expired_card", "Your card has expired."),
}
GOOD = {"pm_card_visa", "pm_card_mastercard", "pm_card_authenticationRequired"}
CREATE = re.compile(r"^(amount|currency|payment_method|payment_method_types\[\d+\]|capture_method|confirm|description"
                    r"|receipt_email|customer|statement_descriptor_suffix|metadata\[[^\[\]]{1,40}\])$")
REFUND = re.compile(r"^(payment_intent|amount|reason|metadata\[[^\[\]]{1,40}\])$")
SEARCH = re.compile(r"^metadata\['sipeat_key'\]:'((?:[^'\\]|\\.)*)'$")
SMALLEST_CHARGE = 50  # minor units, for the currencies with two decimals


class Refusal(Exception):
    """An error of the API."""

    def __init__(self, status, kind, message, code=None, param=None, keep=False, **more):
        super().__init__(message)
        self.status, self.keep = status, keep
        error = {"type": kind, "message": message, "code": code, "param": param, **more}
        self.body = {"error": {name: value for name, value in error.items() if value is not None}}


def invalid(message, code, param=None):
    return Refusal(400, "invalid_request_error", message, code, param)


def metadata_of(form):
    data = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
    if len(data) > 50 or any(len(value) > 500 for value in data.values()):
        raise invalid("Metadata values can have up to 500 characters.", "parameter_invalid_string", "metadata")
    return data


def amount_of(form, currency):
    if not re.fullmatch(r"\d{1,8}", form.get("amount", "")):
        raise invalid("Invalid integer: %s" % form.get("amount"), "parameter_invalid_integer", "amount")
    amount = int(form["amount"])
    if amount < (1 if currency == "jpy" else SMALLEST_CHARGE):
        raise invalid("Amount must be at least 50 cents.", "amount_too_small", "amount")
    return amount


class FakeStripe(FakeService):
    """One account."""

    answers = ("conflict", "rate_limit", "error", "error_after", "drop", "drop_after", "late", "processing",
               "refund_error")

    def __init__(self, host="127.0.0.1", port=0, delay=0.0, late=1.0):
        self.delay, self.late = delay, late
        self.clear()
        super().__init__(host, port)

    def clear(self):
        self.intents, self.refunds, self.keys, self.in_flight, self.faults = {}, {}, {}, set(), {}
        self.replays = self.declines = 0

    def reset(self):
        super().reset()
        with self.lock:
            self.clear()

    def fail(self, event_id, *names):
        """The next payments of this event get these answers, in order."""
        with self.lock:
            self.faults[event_id] = [*self.faults.get(event_id, ()), *names]

    def forget_keys(self):
        with self.lock:
            self.keys.clear()

    def state(self):
        with self.lock:
            captured = [i for i in self.intents.values() if i["status"] == "succeeded"]
            return {"payment_intents": list(self.intents.values()), "refunds": list(self.refunds.values()),
                    "captured": len(captured), "refunded": len(self.refunds), "declines": self.declines,
                    "replays": self.replays, "requests": self.requests}

    # --- requests ---

    def reply(self, request):
        try:
            self.check_key(request)
            if request.method == "GET":
                return Reply(200, self.read(request), self.request_id())
            if request.method != "POST":
                raise Refusal(405, "invalid_request_error", "Method not allowed.")
            return self.write(request, self.form_of(request))
        except Refusal as refusal:
            return Reply(refusal.status, refusal.body, self.request_id())

    def request_id(self):
        return {"Request-Id": "req_%08d" % self.requests}

    @staticmethod
    def check_key(request):
        match = re.fullmatch(r"Bearer (sk_(?:test|live)_\w+)", request.headers.get("authorization", ""))
        if not match:
            raise Refusal(401, "invalid_request_error", "You did not provide an API key.")
        if match.group(1) == "sk_test_wrong":
            raise Refusal(401, "invalid_request_error", "Invalid API Key provided: sk_test_*rong")

    @staticmethod
    def form_of(request):
        if not request.body:
            return {}
        if request.headers.get("content-type", "").split(";")[0] != "application/x-www-form-urlencoded":
            raise invalid("The body must be a form (application/x-www-form-urlencoded).", "parameter_invalid")
        pairs = parse_qsl(request.body.decode("utf-8", "strict"), keep_blank_values=True, strict_parsing=True)
        if len(dict(pairs)) != len(pairs):
            raise invalid("A parameter was sent twice.", "parameter_invalid")
        return dict(pairs)

    def write(self, request, form):
        key = request.headers.get("idempotency-key")
        if key is None:
            return self.perform(request, form)
        if not 0 < len(key) <= 255:
            raise invalid("Idempotency keys can have up to 255 characters.", "parameter_invalid")
        print_of_request = (request.path, tuple(sorted(form.items())))
        with self.lock:
            kept = self.keys.get(key)
            if kept and kept[0] != print_of_request:
                raise Refusal(400, "idempotency_error", "Keys for idempotent requests can only be used with the same "
                              "parameters they were first used with.")
            if kept:
                self.replays += 1
                return Reply(kept[1].status, kept[1].value, {**kept[1].headers, "Idempotent-Replayed": "true"})
            if key in self.in_flight:
                raise Refusal(409, "idempotency_error", "There is another request in progress with this key.",
                              "idempotency_key_in_use")
            self.in_flight.add(key)
        try:
            reply = self.perform(request, form)
            if reply.late:
                threading.Event().wait(self.late)
            with self.lock:
                if reply.status == 200:
                    self.keys[key] = (print_of_request, reply)
            return reply
        except Refusal as refusal:
            if refusal.keep:
                with self.lock:
                    self.keys[key] = (print_of_request, Reply(refusal.status, refusal.body, self.request_id()))
            raise
        finally:
            with self.lock:
                self.in_flight.discard(key)

    def perform(self, request, form):
        if self.delay:
            threading.Event().wait(self.delay)
        with self.lock:
            if request.path == "/v1/payment_intents":
                return self.create(form)
            match = re.fullmatch(r"/v1/payment_intents/(pi_\w+)/cancel", request.path)
            if match:
                return Reply(200, self.cancel(match.group(1)), self.request_id())
            if request.path == "/v1/refunds":
                return Reply(200, self.refund(form), self.request_id())
        raise Refusal(404, "invalid_request_error", "Unrecognized request URL (POST: %s)." % request.path)

    def create(self, form):
        mine = self.faults.get(form.get("metadata[event_id]"))
        answer = mine.pop(0) if mine else self.take_answer(*self.answers[:-1])
        if answer == "drop":
            return Reply(503, drop=True)
        if answer == "conflict":
            raise Refusal(409, "invalid_request_error", "The object is locked.", "lock_timeout")
        if answer == "rate_limit":
            raise Refusal(429, "invalid_request_error", "Too many requests.", "rate_limit")
        self.check_create(form)
        if answer == "error":
            raise Refusal(500, "api_error", "Something went wrong.", keep=True)
        method = form["payment_method"]
        if method in DECLINES:
            code, decline_code, message = DECLINES[method]
            self.declines += 1
            raise Refusal(402, "card_error", message, code, decline_code=decline_code, keep=True)
        number = len(self.intents) + 1
        status = "requires_action" if method == "pm_card_authenticationRequired" else "succeeded"
        intent = {"id": "pi_%06d" % number, "object": "payment_intent", "amount": int(form["amount"]),
                  "currency": form["currency"], "status": status, "payment_method": method,
                  "description": form.get("description"), "receipt_email": form.get("receipt_email"),
                  "metadata": metadata_of(form), "created": int(time.time()), "amount_refunded": 0,
                  "latest_charge": "ch_%06d" % number if status == "succeeded" else None}
        if answer == "processing":
            intent["status"] = "processing"
        self.intents[intent["id"]] = intent
        if answer == "error_after":
            raise Refusal(500, "api_error", "Something went wrong.", keep=True)
        return Reply(200, dict(intent), self.request_id(), drop=answer == "drop_after", late=answer == "late")

    @staticmethod
    def check_create(form):
        for name in form:
            if not CREATE.match(name):
                raise invalid("Received unknown parameter: %s" % name, "parameter_unknown", name)
        for name in ("amount", "currency", "payment_method"):
            if name not in form:
                raise invalid("Missing required param: %s." % name, "parameter_missing", name)
        if not re.fullmatch(r"[a-z]{3}", form["currency"]):
            raise invalid("Invalid currency: %s." % form["currency"], "parameter_invalid", "currency")
        amount_of(form, form["currency"])
        metadata_of(form)
        if form.get("confirm") != "true" or form.get("capture_method", "automatic") != "automatic":
            raise invalid("This fake confirms and captures at once.", "parameter_invalid", "confirm")
        if form["payment_method"] not in GOOD and form["payment_method"] not in DECLINES:
            raise Refusal(400, "invalid_request_error", "No such PaymentMethod: '%s'" % form["payment_method"],
                          "resource_missing", "payment_method")

    def find(self, intent_id):
        intent = self.intents.get(intent_id)
        if intent is None:
            raise Refusal(404, "invalid_request_error", "No such payment_intent: '%s'" % intent_id, "resource_missing")
        return intent

    def cancel(self, intent_id):
        intent = self.find(intent_id)
        if intent["status"] not in ("requires_action", "requires_payment_method", "requires_capture", "canceled"):
            raise invalid("You cannot cancel this PaymentIntent.", "payment_intent_unexpected_state")
        intent["status"] = "canceled"
        return dict(intent)

    def refund(self, form):
        if self.take_answer("refund_error"):
            raise Refusal(500, "api_error", "Something went wrong.")
        for name in form:
            if not REFUND.match(name):
                raise invalid("Received unknown parameter: %s" % name, "parameter_unknown", name)
        if form.get("reason", "duplicate") not in ("duplicate", "fraudulent", "requested_by_customer"):
            raise invalid("Invalid reason.", "parameter_invalid", "reason")
        intent = self.find(form.get("payment_intent", ""))
        if intent["status"] != "succeeded":
            raise invalid("This PaymentIntent does not have a successful charge to refund.", "charge_not_succeeded")
        left = intent["amount"] - intent["amount_refunded"]
        amount = amount_of(form, intent["currency"]) if "amount" in form else left
        if left == 0:
            raise invalid("Charge has already been refunded.", "charge_already_refunded")
        if amount > left:
            raise invalid("Refund amount is greater than unrefunded amount.", "amount_too_large", "amount")
        intent["amount_refunded"] += amount
        refund = {"id": "re_%06d" % (len(self.refunds) + 1), "object": "refund", "amount": amount,
                  "payment_intent": intent["id"], "status": "succeeded", "metadata": metadata_of(form)}
        self.refunds[refund["id"]] = refund
        return dict(refund)

    def read(self, request):
        query = dict(request.query)
        with self.lock:
            if request.path == "/v1/payment_intents/search":
                match = SEARCH.match(query.get("query", ""))
                if not match:
                    raise invalid("This fake searches metadata['sipeat_key']:'…' only.", "parameter_invalid", "query")
                key = re.sub(r"\\(.)", r"\1", match.group(1))
                found = [i for i in self.intents.values() if i["metadata"].get("sipeat_key") == key]
                return {"object": "search_result", "data": found, "has_more": False}
            match = re.fullmatch(r"/v1/payment_intents/(pi_\w+)", request.path)
            if not match:
                raise Refusal(404, "invalid_request_error", "Unrecognized request URL (GET: %s)." % request.path)
            intent = self.find(match.group(1))
            if intent["status"] == "processing":
                intent["status"], intent["latest_charge"] = "succeeded", "ch" + intent["id"][2:]
            shown = dict(intent)
            if query.get("expand[0]") == "latest_charge" and shown["latest_charge"]:
                shown["latest_charge"] = {"id": shown["latest_charge"], "amount_refunded": shown["amount_refunded"],
                                          "refunded": shown["amount_refunded"] == shown["amount"]}
            return shown


if __name__ == "__main__":
    main(lambda args: FakeStripe(args.host, args.port, args.delay), "A strict fake of Stripe's payments.",
         lambda parser: parser.add_argument("--delay", type=float, default=0.0, help="seconds for each payment"))
