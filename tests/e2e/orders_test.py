"""The orders example on a real Kafka, as its document scales it: three instances of the order service, two of the
notification service, four of the analytics service, of which one waits in reserve. Some are killed and others join
while the orders pass. SIPEAT_SOAK has 100,000 orders."""

import collections
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import time

from support import harness, orders_world
from support.console import Api, token
from support.harness import Case, get, main, wait_for
from support.kafka import Kafka

SOAK = bool(os.environ.get("SIPEAT_SOAK"))
COUNT, BY_HTTP, DEADLINE = (100_000, 1_000, 3_000) if SOAK else (2_000, 40, 120)
SEED = int(os.environ.get("SIPEAT_SEED", "1"))
EXAMPLE = harness.SOURCE / "examples/orders"
TOPIC = "order-events"
FINAL = {"delivered", "cancelled"}


class OrdersTest(Case):
    def setUp(self):
        super().setUp()
        self.kafka = self.enterContext(Kafka({"group.min.session.timeout.ms": 3000}))
        self.numbers, self.urls = collections.Counter(), {}

    def service(self, name, **env):
        """One more instance of a service; its databases are those of the other instances."""
        self.numbers[name] += 1
        state = self.dir / f"{name}-{self.numbers[name]}"
        process = self.start(
            "run", EXAMPLE / f"{name}.lua", "--no-embedded", "--no-watch", "--state", state,
            "-X", "session.timeout.ms=4000", "-X", "heartbeat.interval.ms=1000", env={
                "KAFKA_BROKERS": self.kafka.address, "KAFKA_TUNING": "throughput", "ORDERS_HTTP": "off",
                "ORDERS_AUTOPILOT": "on", **env})
        process.state = state
        return process

    def url(self, process):
        if process not in self.urls:
            line = process.wait_log("listening on http://")
            process.wait_runs()
            self.urls[process] = "http://" + line.split("http://")[1].split('"')[0]
        return self.urls[process]

    def post(self, process, path, body=None, **headers):
        headers = {"content-type": "application/json", **headers}
        status, answer = get(self.url(process) + path, 30, json.dumps(body or {}).encode(), **headers)
        return status, json.loads(answer) if answer else None

    def figures(self, process):
        status, answer = get(self.url(process) + "/api/v1/figures", 30)
        return json.loads(answer) if status == 200 else None

    def wait_group(self, console, name, members):
        def settled():
            status, group = console.call("GET", f"groups/{name}")
            if status != 200 or group["state"] != "Stable" or len(group["members"]) != members:
                return None
            # A member that has joined gets its partitions in a rebalance of its own; more than three have none.
            owned = sum(len(member["partitions"]) for member in group["members"])
            idle = sum(member["idle"] for member in group["members"])
            return owned == 3 and idle == max(0, members - 3)
        wait_for(settled, lambda: f"{name} of {members} settled: {console.call('GET', f'groups/{name}')}", 60, 0.2)

    def put_stock(self, process, secret):
        body = json.dumps({"available": orders_world.PORTIONS}).encode()
        request = harness.urllib.request.Request(
            f"{self.url(process)}/api/v1/stock/{orders_world.SOLD_OUT}", body, method="PUT",
            headers={"content-type": "application/json", "authorization": f"Bearer {secret}"})
        with harness.urllib.request.urlopen(request, timeout=30) as answer:
            self.assertEqual(answer.status, 200)

    def create_by_http(self, instances, inputs):
        """The seed's request, to every instance in turn; each is sent twice under its key, and is one order."""
        for number, order in enumerate(inputs):
            key = {"idempotency-key": f"key-{order.id}"}
            status, made = self.post(instances[number % len(instances)], "/api/v1/orders", order.request(), **key)
            self.assertEqual((status, made["totalPrice"]), (201, order.total / 100))
            if number % 10 == 0:
                status, again = self.post(instances[0], "/api/v1/orders", order.request(), **key)
                self.assertEqual((status, again["orderId"]), (200, made["orderId"]))

    def publish(self, inputs):
        path = self.dir / "orders.jsonl"
        orders_world.write_file(path, inputs, TOPIC)
        done = self.run_sipeat("publish", "--file", path, env={"KAFKA_BROKERS": self.kafka.address}, deadline=600)
        self.assertEqual(done.returncode, 0, done.tail())

    def decide_held(self, process, secret):
        """What an operator does: every second held order is released, the others are rejected."""
        headers = {"authorization": f"Bearer {secret}"}
        status, answer = get(self.url(process) + "/api/v1/held-orders", 30, **headers)
        for held in json.loads(answer)["orders"] if status == 200 else []:
            order = held["orderId"]
            self.assertIn("large_amount", json.dumps(held["risk"]))
            verb = "release" if int(order.split("-")[1]) % 2 == 0 else "reject"
            status, body = self.post(process, f"/api/v1/orders/{order}/{verb}", **headers)
            self.assertIn(status, (200, 409, 503), body)  # 503: the database is busy; it is asked again

    def log_of_orders(self, console):
        """Sequences of each order in the order of the topic, the first time that each event is there."""
        records = sum(at["high"] for at in console.get(f"topics/{TOPIC}")["partitions"])
        path = pathlib.Path(self.dir / "topic.jsonl")
        with open(path, "wb") as out:
            subprocess.run([harness.BINARY, "consume", TOPIC, "-b", self.kafka.address, "--from-beginning", "--json",
                            "--max", str(records)], stdout=out, check=True, cwd=self.dir,
                           env=harness.environment(self.dir), timeout=1800)
        seen, sequences, repeated = set(), collections.defaultdict(list), 0
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(json.loads(line)["value"])
                if event["id"] in seen:
                    repeated += 1
                    continue
                seen.add(event["id"])
                sequences[event["orderId"]].append(event["data"].get("sequence", 1))
        return sequences, repeated

    def check_end(self, console, want, figures):
        with sqlite3.connect(self.dir / "orders.db") as db:
            states = dict(db.execute("SELECT state, COUNT(*) FROM orders GROUP BY state"))
            sums = db.execute("SELECT SUM(paid), SUM(refunded) FROM orders").fetchone()
            left = db.execute("SELECT available FROM stock").fetchone()[0]
        self.assertEqual(states, {state: want[state] for state in FINAL})
        self.assertEqual(sums, (want["captured"], want["refunded"]))
        self.assertEqual(left, 0)
        self.assertEqual(figures["revenue_minor"], [{
            "currency": "EUR", "captured": want["captured"], "refunded": want["refunded"],
            "revenue": want["captured"] - want["refunded"]}])
        self.assertEqual((figures["orders"], figures["missing_events"]), (COUNT, 0))
        with sqlite3.connect(self.dir / "notices.db") as db:
            kinds = dict(db.execute("SELECT kind, COUNT(*) FROM notices GROUP BY kind"))
        counts = figures["counts"]
        for kind in ("order.created", "order.state_changed", "order.payment_processed"):
            self.assertEqual(kinds[kind], counts[kind], kind)
        self.assertEqual(counts["order.created"], COUNT)
        sequences, repeated = self.log_of_orders(console)
        self.assertEqual(len(sequences), COUNT)
        wrong = {order: got for order, got in sequences.items() if got != list(range(1, len(got) + 1))}
        self.assertEqual(wrong, {})
        self.assertEqual(sum(map(len, sequences.values())),
                         sum(counts["order." + kind] for kind in orders_world.EVENTS))
        self.assertEqual([line for process in self.processes for line in process.raw if "dead letter" in line], [])
        return repeated

    def kill_and_replace(self, names, running):
        for name in names:
            victim = running[name].pop(1)
            victim.stop(signal.SIGKILL)
            running[name].append(self.service(name))

    def test_orders_end_legally_and_the_revenue_is_the_sum_of_the_inputs(self):
        inputs = orders_world.orders(COUNT, SEED)
        want = orders_world.expected(inputs)
        by_http = [order for order in inputs if order.kind == "plain"][:BY_HTTP]
        taken = {order.id for order in by_http}
        running = {name: [self.service(name) for _ in range(count)] for name, count in (
            ("order-service", 3), ("notification-service", 2), ("analytics-service", 4))}
        keeper, reader = running["order-service"][0], running["analytics-service"][0]
        self.url(keeper)  # it has made its files
        secret = token(keeper.state, "operator")
        console = Api(self.url(keeper), secret)
        self.put_stock(keeper, secret)
        for name, members in (("order-service", 3), ("notification-service", 2), ("analytics-service", 4)):
            self.wait_group(console, name, members)
        began = time.monotonic()
        self.create_by_http(running["order-service"], by_http)
        self.publish([order for order in inputs if order.id not in taken])
        kills = 0

        def finished():
            nonlocal kills
            self.decide_held(keeper, secret)
            seen = self.figures(reader) or {"counts": {}}
            counts = seen["counts"]
            done = counts.get("order.delivered", 0) + counts.get("order.cancelled", 0)
            due = 3 if SOAK else 1
            if kills < due and done >= COUNT * (kills + 1) // (due + 2):
                kills += 1
                self.kill_and_replace(running, running)
            if done >= COUNT and counts.get("payments_refunded", 0) >= want["refunds"]:
                return seen
            return None

        wait_for(finished, lambda: f"{COUNT} orders at their end: {self.figures(reader)}", DEADLINE, 1 if SOAK else 0.2)
        seconds = time.monotonic() - began
        for name in running:  # what they had begun is finished and committed
            self.wait_no_lag(console, name)
        figures = self.figures(reader)
        repeated = self.check_end(console, want, figures)
        print(f"orders: {COUNT} in {seconds:.0f} s, {kills * 3} instances killed and replaced, "
              f"{sum(figures['counts']['order.' + kind] for kind in orders_world.EVENTS)} events, "
              f"{repeated} repeated in the topic, revenue {want['captured'] - want['refunded']} minor units",
              flush=True)

    def test_an_order_that_was_taken_without_kafka_is_published_by_whoever_comes_next(self):
        self.kafka.kill()
        first = self.service("order-service")
        status, order = self.post(first, "/api/v1/orders", orders_world.orders(1, SEED)[0].request())
        self.assertEqual((status, order["state"]), (201, "pending"))
        first.stop(signal.SIGKILL)
        self.kafka.start()
        second = self.service("order-service", ORDERS_UNSENT_AFTER="300ms")
        path = f"{self.url(second)}/api/v1/orders/{order['orderId']}"
        second.until(lambda: json.loads(get(path)[1])["state"] == "delivered", "delivered", 60)

    def wait_no_lag(self, console, name):
        def done():
            status, group = console.call("GET", f"groups/{name}")
            return status == 200 and group["topics"] and all(
                at["lag"] == 0 for topic in group["topics"] for at in topic["partitions"])
        wait_for(done, lambda: f"no lag of {name}: {console.call('GET', 'groups/' + name)}", 30, 0.3)


class ExampleTest(Case):
    def test_its_own_tests_pass(self):
        done = self.run_sipeat("test", EXAMPLE)
        self.assertEqual(done.returncode, 0, done.output)

    def test_the_quick_start_works_as_it_stands(self):
        port = harness.free_ports(1)[0]
        block = (EXAMPLE / "README.md").read_text().split("Then,\nin another terminal:\n\n```sh\n")[1].split("```")[0]
        dev = self.start("dev", EXAMPLE / "main.lua", env={"ORDERS_HTTP": f"127.0.0.1:{port}"})
        dev.wait_log("orders are taken on")
        commands = block.replace("localhost:8080", f"127.0.0.1:{port}").replace("sipeat ", f"{harness.BINARY} ")
        create, consume, _ = commands.replace("\\\n", " ").strip().split("\n")
        order = json.loads(self.shell(create))
        self.assertEqual((order["state"], order["totalPrice"], order["userId"]), ("pending", 25.5, "user-123"))
        url = f"http://127.0.0.1:{port}/api/v1"
        dev.until(lambda: json.loads(get(f"{url}/orders/{order['orderId']}")[1])["state"] == "confirmed", "confirmed")
        self.assertIn("order.payment_processed", self.shell(consume))
        dev.until(lambda: json.loads(get(url + "/figures")[1])["revenue_minor"] == [
            {"currency": "EUR", "captured": 2550, "refunded": 0, "revenue": 2550}], "the figures")
        self.assertIn("partition", self.shell(f"{harness.BINARY} topic show {TOPIC}").lower())

    def test_an_operator_gives_the_money_of_a_delivered_order_back(self):
        dev = self.start("dev", EXAMPLE / "main.lua", env={"ORDERS_HTTP": "off", "ORDERS_AUTOPILOT": "on"})
        dev.wait_runs()
        url = "http://" + dev.wait_log("listening on http://").split("http://")[1].split('"')[0] + "/api/v1"

        def post(path, body):
            status, answer = get(url + path, 30, json.dumps(body).encode(), **{"content-type": "application/json"})
            return status, json.loads(answer)

        order = post("/orders", orders_world.orders(1, SEED)[0].request())[1]["orderId"]
        self.assertEqual(post(f"/orders/{order}/refund", {})[0], 409)  # not before it is delivered
        dev.until(lambda: json.loads(get(f"{url}/orders/{order}")[1])["state"] == "delivered", "delivered")
        for _ in range(2):  # once, however often it is asked for
            status, answer = post(f"/orders/{order}/refund", {})
            self.assertEqual((status, answer["refunded"]), (200, answer["paid"]))
        dev.until(lambda: json.loads(get(url + "/figures")[1])["counts"].get("payments_refunded") == 1, "the figures")
        self.assertEqual(json.loads(get(url + "/figures")[1])["revenue_minor"][0]["revenue"], 0)

    def shell(self, command):
        done = subprocess.run(command, shell=True, cwd=self.dir, env=harness.environment(self.dir), timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout


if __name__ == "__main__":
    main()
