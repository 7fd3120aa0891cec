#!/usr/bin/env python3
"""A Supabase project with SipEat's tables, and as strict as PostgREST about them.

Knows select with eq/neq/gt/gte/lt/lte/is/in/not.in, order and limit; insert, upsert (on_conflict, both resolutions),
update, delete, Prefer (return, resolution, handling), and the functions reserve_drink and release_drink of
scripts/flows/store/supabase.sql. Refuses what the real one refuses, with its codes: a wrong key, unknown tables and
columns, rows with different keys, NULL where there must be none, broken checks and unique keys.

    with FakeSupabase() as fake:
        run_something(NEXT_PUBLIC_SUPABASE_URL=fake.url, NEXT_PUBLIC_SUPABASE_ANON_KEY=fake.key)
        fake.rows("contacts")

    python3 fake_supabase.py --port 0 --key anon-key               prints its address, then serves

Answers for next() and POST /_control: unavailable (503), pool_timeout (504), deadlock (500, code 40P01), internal
(500), drop (no answer, and nothing was done), drop_after (done, no answer).
"""
import json
import re

if __package__:
    from .fake_service import FakeService, Reply, main
else:
    from fake_service import FakeService, Reply, main

KEY = "fake-anon-key-0123456789"

TEXT, INT, REAL = str, int, (int, float)


def table(primary, columns, optional=(), unique=(), checks=()):
    return {"primary": primary, "columns": columns, "optional": set(optional), "unique": [primary, *unique],
            "checks": checks}


TABLES = {
    "contacts": table(("email",), {
        "email": TEXT, "name": TEXT, "phone": TEXT, "company_name": TEXT, "type": TEXT, "message": TEXT, "score": INT,
        "reasons": TEXT, "event_id": TEXT, "updated_at": TEXT}, ("phone", "company_name")),
    "machines": table(("machine_id",), {
        "machine_id": TEXT, "name": TEXT, "type": TEXT, "status": TEXT, "address": TEXT, "city": TEXT, "country": TEXT,
        "latitude": REAL, "longitude": REAL, "driver": TEXT, "proof": TEXT, "event_id": TEXT, "updated_at": TEXT},
        ("city", "country", "latitude", "longitude"),
        checks=(lambda r: r["status"] in ("setting_up", "active"),
                lambda r: r["proof"] in ("sensor", "counter", "none"))),
    "machine_drivers": table(("machine_id",), {
        "machine_id": TEXT, "settings": TEXT, "payment": TEXT, "audit": TEXT, "event_id": TEXT, "updated_at": TEXT},
        ("payment", "audit")),
    "machine_health": table(("machine_id",), {
        "machine_id": TEXT, "state": TEXT, "reason": TEXT, "board": TEXT, "last_fault": TEXT, "last_fault_at": TEXT,
        "last_sale_at": TEXT, "audited_at": TEXT, "updated_at": TEXT},
        ("reason", "board", "last_fault", "last_fault_at", "last_sale_at", "audited_at")),
    "inventory": table(("machine_id", "slot"), {
        "machine_id": TEXT, "slot": INT, "drink": TEXT, "stock": INT, "capacity": INT, "price_minor": INT,
        "currency": TEXT, "event_id": TEXT, "updated_at": TEXT},
        checks=(lambda r: 0 <= r["stock"] <= r["capacity"], lambda r: r["price_minor"] >= 0)),
    "reservations": table(("event_id",), {
        "event_id": TEXT, "machine_id": TEXT, "slot": INT, "drink": TEXT, "state": TEXT, "updated_at": TEXT},
        checks=(lambda r: r["state"] in ("held", "dispensing", "dispensed", "released"),)),
    "machine_network": table(("machine_id",), {
        "machine_id": TEXT, "mode": TEXT, "address": TEXT, "gateway": TEXT, "mask": TEXT, "event_id": TEXT,
        "updated_at": TEXT}, ("address", "gateway", "mask"), unique=[("address",)],
        checks=(lambda r: r["mode"] in ("dhcp", "static"),)),
    "maintenance": table(("machine_id", "kind"), {
        "machine_id": TEXT, "kind": TEXT, "every_days": INT, "next_at": TEXT, "technician": TEXT, "event_id": TEXT,
        "updated_at": TEXT}, ("technician",), checks=(lambda r: r["every_days"] > 0,)),
    "submissions": table(("event_id",), {
        "event_id": TEXT, "kind": TEXT, "digest": TEXT, "about": TEXT, "state": TEXT, "why": TEXT, "ended": TEXT,
        "created_at": TEXT, "updated_at": TEXT}, ("why", "ended"),
        checks=(lambda r: r["state"] in ("taken", "sent", "lost", "done", "dead"),)),
    "confirmations": table(("event_id",), {
        "event_id": TEXT, "token": TEXT, "machine_id": TEXT, "slot": INT, "drink": TEXT, "customer": TEXT,
        "email": TEXT, "payment_id": TEXT, "payment_key": TEXT, "state": TEXT, "updated_at": TEXT},
        ("email", "payment_id", "payment_key"),
        checks=(lambda r: r["state"] in ("open", "confirmed", "denied", "settled"),)),
}

RESERVED = {"select", "order", "limit", "offset", "on_conflict", "columns"}
PREFERENCES = {"return": {"minimal", "representation", "headers-only"},
               "resolution": {"merge-duplicates", "ignore-duplicates"}, "missing": {"default", "null"},
               "handling": {"strict", "lenient"}, "count": {"exact", "planned", "estimated"}}


class Refusal(Exception):
    """An error of PostgREST or of the database behind it."""

    def __init__(self, status, code, message, details=None, hint=None):
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "details": details, "hint": hint}


ANSWERS = {
    "unavailable": Refusal(503, "PGRST000", "Could not connect with the database."),
    "pool_timeout": Refusal(504, "PGRST003", "Timed out acquiring connection from connection pool."),
    "deadlock": Refusal(500, "40P01", "deadlock detected"),
    "internal": Refusal(500, "XX000", "internal error"),
}


def split_list(text):
    """(a,"b,c") as a list."""
    if not (text.startswith("(") and text.endswith(")")):
        raise Refusal(400, "PGRST100", "unexpected \"%s\" expecting \"(\"" % text[:1])
    items = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,"]+)', text[1:-1])
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted or not plain else plain for quoted, plain in items]


def typed(column_type, text):
    if column_type is TEXT:
        return text
    try:
        return int(text) if column_type is INT else float(text)
    except ValueError:
        raise Refusal(400, "22P02", 'invalid input syntax for type: "%s"' % text) from None


class FakeSupabase(FakeService):
    """One project."""

    answers = tuple(ANSWERS) + ("drop", "drop_after")

    def __init__(self, host="127.0.0.1", port=0, key=KEY):
        self.key = key
        self.clear()
        super().__init__(host, port)

    def clear(self):
        self.tables = {name: {} for name in TABLES}
        self.log = []

    def reset(self):
        super().reset()
        with self.lock:
            self.clear()

    def rows(self, name):
        with self.lock:
            return [dict(row) for row in self.tables[name].values()]

    def writes(self):
        """What was done to tables, in order: {method, table, query, body}."""
        with self.lock:
            return list(self.log)

    def state(self):
        return {"tables": {name: self.rows(name) for name in TABLES}, "requests": self.requests}

    # --- requests ---

    def reply(self, request):
        try:
            if not request.path.startswith("/rest/v1/"):
                raise Refusal(404, "PGRST125", "Invalid path specified in request URL")
            self.check_key(request)
            answer = self.take_answer(*self.answers)
            if answer in ANSWERS:
                raise ANSWERS[answer]
            if answer == "drop":
                return Reply(0, drop=True)
            with self.lock:
                reply = self.route(request)
                if request.method != "GET":
                    self.log.append({"method": request.method, "table": request.path.rsplit("/", 1)[-1],
                                     "query": request.query, "body": request.body.decode()})
            reply.drop = answer == "drop_after"
            return reply
        except Refusal as refusal:
            return Reply(refusal.status, refusal.body)

    def check_key(self, request):
        if request.headers.get("apikey") != self.key:
            raise Refusal(401, "PGRST301", "No API key found in request" if "apikey" not in request.headers
                          else "Invalid API key")
        if request.headers.get("authorization") != "Bearer " + self.key:
            raise Refusal(401, "PGRST301", "JWSError JWSInvalidSignature")

    def route(self, request):
        name = request.path[len("/rest/v1/"):]
        if name.startswith("rpc/"):
            return Reply(200, self.call(name[4:], self.body_of(request)))
        if name not in TABLES:
            raise Refusal(404, "PGRST205", "Could not find the table 'public.%s' in the schema cache" % name)
        prefer = self.prefer_of(request)
        if request.method == "GET":
            return self.select(name, request)
        if request.method == "POST":
            rows = self.write(name, request, prefer)
            return self.written(201, rows, prefer)
        if request.method in ("PATCH", "DELETE"):
            rows = (self.update if request.method == "PATCH" else self.delete)(name, request)
            return self.written(200 if prefer.get("return") == "representation" else 204, rows, prefer)
        raise Refusal(405, "PGRST117", "Unsupported HTTP method: %s" % request.method)

    @staticmethod
    def prefer_of(request):
        prefer = {}
        for part in filter(None, request.headers.get("prefer", "").split(",")):
            name, _, value = part.strip().partition("=")
            prefer[name] = value
        if prefer.get("handling") == "strict":
            for name, value in prefer.items():
                if value not in PREFERENCES.get(name, ()):
                    raise Refusal(400, "PGRST122", "Invalid preferences given with handling=strict")
        return prefer

    @staticmethod
    def written(status, rows, prefer):
        return Reply(status, rows if prefer.get("return") == "representation" else None)

    @staticmethod
    def body_of(request):
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refusal(415, "PGRST102", "Content-Type not acceptable: %s" % request.headers.get("content-type"))
        try:
            return json.loads(request.body)
        except ValueError:
            raise Refusal(400, "PGRST102", "Empty or invalid json") from None

    # --- filters ---

    def condition(self, name, column, text):
        if column not in TABLES[name]["columns"]:
            raise Refusal(400, "42703", "column %s.%s does not exist" % (name, column))
        kind = TABLES[name]["columns"][column]
        negated = text.startswith("not.")
        operator, _, value = (text[4:] if negated else text).partition(".")
        tests = {
            "eq": lambda v: v is not None and v == typed(kind, value),
            "neq": lambda v: v is not None and v != typed(kind, value),
            "gt": lambda v: v is not None and v > typed(kind, value),
            "gte": lambda v: v is not None and v >= typed(kind, value),
            "lt": lambda v: v is not None and v < typed(kind, value),
            "lte": lambda v: v is not None and v <= typed(kind, value),
            "is": lambda v: v is {"null": None, "true": True, "false": False}[value],
            "in": lambda v: v is not None and v in [typed(kind, item) for item in split_list(value)],
        }
        if operator not in tests:
            raise Refusal(400, "PGRST100", "\"failed to parse filter (%s)\"" % text)
        return lambda row: tests[operator](row[column]) != negated

    def fitting(self, name, request):
        conditions = [self.condition(name, column, text) for column, text in request.query if column not in RESERVED]
        if request.method != "GET" and not conditions:
            what = "UPDATE" if request.method == "PATCH" else "DELETE"
            raise Refusal(400, "21000", "%s requires a WHERE clause" % what)
        return [(key, row) for key, row in self.tables[name].items() if all(fits(row) for fits in conditions)]

    # --- tables ---

    def select(self, name, request):
        query = dict(request.query)
        rows = [row for _, row in self.fitting(name, request)]
        for part in reversed(list(filter(None, query.get("order", "").split(",")))):
            column, _, direction = part.partition(".")
            if column not in TABLES[name]["columns"]:
                raise Refusal(400, "42703", "column %s.%s does not exist" % (name, column))
            rows.sort(key=lambda row: (row[column] is None, row[column]), reverse=direction.startswith("desc"))
        if "limit" in query:
            rows = rows[:int(query["limit"])]
        wanted = query.get("select", "*")
        if wanted != "*":
            columns = wanted.split(",")
            unknown = [column for column in columns if column not in TABLES[name]["columns"]]
            if unknown:
                raise Refusal(400, "42703", "column %s.%s does not exist" % (name, unknown[0]))
            rows = [{column: row[column] for column in columns} for row in rows]
        return Reply(200, [dict(row) for row in rows])

    def checked(self, name, row):
        """A complete row, or what the database says to it."""
        spec = TABLES[name]
        for column in row:
            if column not in spec["columns"]:
                raise Refusal(400, "PGRST204", "Could not find the '%s' column of '%s' in the schema cache"
                              % (column, name))
        full = {column: row.get(column) for column in spec["columns"]}
        for column, value in full.items():
            if value is None and column not in spec["optional"]:
                raise Refusal(400, "23502", 'null value in column "%s" of relation "%s" violates not-null constraint'
                              % (column, name))
            if value is not None and (isinstance(value, bool) or not isinstance(value, spec["columns"][column])):
                raise Refusal(400, "22P02", 'invalid input syntax for column "%s": %r' % (column, value))
        if not all(check(full) for check in spec["checks"]):
            raise Refusal(400, "23514", 'new row for relation "%s" violates check constraint' % name)
        return full

    def check_unique(self, name, full, but):
        for columns in TABLES[name]["unique"]:
            mine = tuple(full[column] for column in columns)
            for key, row in self.tables[name].items():
                if key != but and None not in mine and mine == tuple(row[column] for column in columns):
                    raise Refusal(409, "23505", 'duplicate key value violates unique constraint "%s_%s_key"'
                                  % (name, "_".join(columns)), "Key (%s)=(%s) already exists."
                                  % (", ".join(columns), ", ".join(map(str, mine))))

    def put(self, name, full, but=None):
        self.check_unique(name, full, but)
        if but is not None:
            del self.tables[name][but]
        key = tuple(full[column] for column in TABLES[name]["primary"])
        self.tables[name][key] = full
        return dict(full)

    def conflict_target(self, name, request):
        columns = dict(request.query).get("on_conflict")
        target = tuple(columns.split(",")) if columns else TABLES[name]["primary"]
        if set(target) not in [set(columns) for columns in TABLES[name]["unique"]]:
            raise Refusal(400, "42P10", "there is no unique or exclusion constraint matching the ON CONFLICT "
                          "specification")
        return target

    def write(self, name, request, prefer):
        body = self.body_of(request)
        rows = body if isinstance(body, list) else [body]
        if any(set(row) != set(rows[0]) for row in rows):
            raise Refusal(400, "PGRST102", "All object keys must match")
        resolution = prefer.get("resolution")
        target = self.conflict_target(name, request)
        before, out = dict(self.tables[name]), []
        try:
            for row in rows:
                there = next((key for key, old in self.tables[name].items()
                              if all(old[column] == row.get(column) for column in target)), None)
                if there is None or not resolution:
                    out.append(self.put(name, self.checked(name, row)))
                elif resolution == "merge-duplicates":
                    out.append(self.put(name, self.checked(name, {**self.tables[name][there], **row}), there))
        except Refusal:
            self.tables[name] = before  # one statement: all or nothing
            raise
        return out

    def update(self, name, request):
        changes, out = self.body_of(request), []
        for key, row in self.fitting(name, request):
            out.append(self.put(name, self.checked(name, {**row, **changes}), key))
        return out

    def delete(self, name, request):
        found = self.fitting(name, request)
        for key, _ in found:
            del self.tables[name][key]
        return [dict(row) for _, row in found]

    # --- functions, as in supabase.sql ---

    def call(self, function, args):
        known = {"reserve_drink": ("p_event_id", "p_machine_id", "p_slot"), "release_drink": ("p_event_id",)}
        if function not in known or set(args) != set(known[function]):
            raise Refusal(404, "PGRST202", "Could not find the function public.%s(%s) in the schema cache"
                          % (function, ", ".join(sorted(args))))
        return getattr(self, function)(**args)

    def reserve_drink(self, p_event_id, p_machine_id, p_slot):
        known = self.tables["reservations"].get((p_event_id,))
        if known and known["state"] != "released":
            return {"outcome": "kept", "reservation": dict(known)}
        slot = self.tables["inventory"].get((p_machine_id, p_slot))
        if not slot or slot["stock"] <= 0:
            return {"outcome": "sold_out"}
        slot["stock"] -= 1
        row = {"event_id": p_event_id, "machine_id": p_machine_id, "slot": p_slot, "drink": slot["drink"],
               "state": "held", "updated_at": slot["updated_at"]}
        self.tables["reservations"][(p_event_id,)] = row
        return {"outcome": "held", "reservation": dict(row)}

    def release_drink(self, p_event_id):
        known = self.tables["reservations"].get((p_event_id,))
        if not known or known["state"] not in ("held", "dispensing"):
            return {"outcome": "nothing_held"}
        known["state"] = "released"
        slot = self.tables["inventory"].get((known["machine_id"], known["slot"]))
        if slot and slot["stock"] < slot["capacity"]:
            slot["stock"] += 1
        return {"outcome": "released", "reservation": dict(known)}


if __name__ == "__main__":
    main(lambda args: FakeSupabase(args.host, args.port, args.key), "A strict fake of a Supabase project.",
         lambda parser: parser.add_argument("--key", default=KEY, help="the API key that is accepted"))
