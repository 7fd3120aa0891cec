"""The benchmark does not rot: it runs with few events, and its checker finds what is wrong. Asserts no time.

SIPEAT_SOAK=1 runs all of it, with every peer.
"""

import json
import os
import subprocess
import sys

from bench import programs
from support import kcat
from support.harness import SOURCE, Case, main
from support.kafka import Kafka

SOAK = os.environ.get("SIPEAT_SOAK") == "1"


def output(number, customer, **changes):
    status = ("accepted", "settled", "closed", "refunded")[number % 4]
    amount = (100 + number * 37 % 9900) / 100 * (-1 if status == "refunded" else 1)
    fields = {"id": f"e-{number:010}", "order": f"o-{number:010}", "customer": customer, "status": status,
              "amount": amount, **changes}
    return customer, json.dumps(fields)


class Bench(Case):
    def test_every_program_does_the_same_work_completely(self):
        few = ["--work", "1m,slow", "--peers", "c,sipeat", "--runs", "1", "--events", "2000"]
        command = [sys.executable, SOURCE / "tests/bench/run.py", *([] if SOAK else few)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=7200 if SOAK else 240, check=False)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("| plain C, librdkafka and cJSON |", done.stdout)
        self.assertIn("| sipeat |", done.stdout)

    def test_servers_answer_requests_side_by_side(self):
        few = ["--servers", "sipeat", "--routes", "/lua", "--runs", "1", "--seconds", "1"]
        command = [sys.executable, SOURCE / "tests/bench/web.py", *([] if SOAK else few)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800 if SOAK else 120, check=False)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("answers from the script alone", done.stdout)
        if SOAK:
            self.assertIn("publishes, and does not wait", done.stdout)

    def test_the_checker_finds_what_is_wrong(self):
        checker = programs.build_c(SOURCE / "tests/bench/c/check.c")
        one_key = "c-0000000"
        right = [output(number, one_key) for number in range(8)]
        cases = {
            "right": (right, {}),
            "missing": (right[:7], {"missing": 1}),
            "repeated": ([*right, right[3]], {"repeated": 1}),
            "disordered": ([*right[:3], right[4], right[3], *right[5:]], {"disordered": 1}),
            "wrong_status": ([*right[:7], output(7, one_key, status="closed")], {"wrong": 1, "missing": 1}),
            "wrong_amount": ([*right[:7], output(7, one_key, amount=3.59)], {"wrong": 1, "missing": 1}),
            "field_too_many": ([*right[:7], output(7, one_key, more=1)], {"wrong": 1, "missing": 1}),
            "wrong_key": ([*right[:7], ("c-0000001", right[7][1])], {"wrong": 1, "missing": 1}),
            "no_json": ([*right[:7], (one_key, "{")], {"wrong": 1, "missing": 1}),
        }
        with Kafka() as kafka:
            for name, (records, found) in cases.items():
                with self.subTest(name):
                    kafka.wire.create_topic(name, 1)
                    kcat.write(kafka.address, name, records)
                    report = json.loads(programs.command(checker, kafka.address, name, 1, 8, 1, 0))
                    wanted = {"missing": 0, "repeated": 0, "wrong": 0, "disordered": 0, **found}
                    self.assertEqual({field: report[field] for field in wanted}, wanted)
                    self.assertEqual(report["records"], len(records))


if __name__ == "__main__":
    main()
