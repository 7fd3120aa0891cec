"""The commands of the pages beside the examples, typed in their order, with the programs that they begin with."""

import re

from support import harness
from support.kafka import Kafka
from support.pages import block
from support.shell_blocks import Page


class DocsExamples(Page):
    def test_cqrs(self):
        self.open("examples/cqrs/README.md")
        self.serve(1)
        self.type(2, "refill")
        self.assertNotEqual(self.type(2, "sell"), "")
        self.until(2, "/stock", '"units":11')
        self.until(2, "/sales", '"sold":1')
        self.assertIn("stock", self.type(3))

    def box(self, invoice):
        """What the page says that the processor prints of this invoice."""
        self.change("abc-123", invoice)
        return self.here(block(self.page, "text", 2).text).rstrip()

    def test_invoices(self):
        self.open("examples/invoices/README.md")
        app = self.serve(1)
        said = self.type(2)
        box = self.box(re.search(r'"id": ?"([^"]+)"', said)[1])
        app.until(lambda: box in app.output, lambda: f"this box:\n{box}", 60)
        self.assertIn('"success":true', self.type(3).replace(" ", ""))
        app.stop()
        self.assertIn(" 0 failed", self.type(7, deadline=120))
        with Kafka() as kafka:
            self.env["KAFKA_BROKER"] = kafka.address
            self.change("localhost:9092", kafka.address)
            self.change(r"^export .*\n", "")
            self.type(4, "export")
            self.type(4, "topic create")
            self.serve(4, "sipeat-run")
            self.serve(5)
            said = self.type(2)
            for part in ("topic list", "consume", "group list", "dlq list"):
                self.type(6, part, deadline=20) if part != "consume" else None
            self.until(6, "topic list", "invoices")
            self.change("--max 10", "--max 1")
            self.assertIn("customer-1", self.type(6, "consume"))
            console = self.serve(6, "sipeat console", until="http://127.0.0.1")
            console.stop()

    def test_orders(self):
        orders, *others = harness.free_ports(4)
        self.open("examples/orders/README.md", ORDERS_HTTP=f"127.0.0.1:{orders}")
        self.change("localhost:8080", f"127.0.0.1:{orders}")
        dev = self.serve(1)
        made = self.type(2, "POST")
        order = re.search(r'"(?:orderId|id)": ?"([^"]+)"', made)[1]
        self.until(2, "sipeat consume", order)
        self.until(2, "figures", '"orders":1')
        dev.stop()
        with Kafka() as kafka:
            for port, there in zip((3001, 3002, 3003), others):
                self.change(f"127.0.0.1:{port}", f"127.0.0.1:{there}")
            self.take(3, "export")
            self.env |= {"KAFKA_BROKERS": kafka.address, "KAFKA_TUNING": "throughput", "ORDERS_HTTP": "127.0.0.1:0"}
            for service in ("order-service", "notification-service", "analytics-service"):
                self.serve(3, service)

    def test_worker(self):
        self.open("examples/worker/README.md")
        worker = self.serve(1)
        for topic in ("contact", "machine", "request"):
            self.type(2, f"{topic}-created")
        worker.until(lambda: worker.log.count("notification") >= 3, "three notifications")


if __name__ == "__main__":
    harness.main()
