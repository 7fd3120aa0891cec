"""The command line as a person meets it: help, complaints and exit codes, a running program and its second terminal."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from support import harness
from support.harness import BINARY, environment, free_ports, get, save, wait_for
from support.kafka import Kafka

OK, FAILED, USAGE, SCRIPT, BROKER, SETTINGS = range(6)
VERBS = [verb.split() for verb in (
    "run", "dev", "publish", "consume", "topic create", "topic list", "topic show", "topic delete", "group list",
    "group show", "group reset", "dlq list", "dlq show", "dlq replay", "user add", "token add",
    "audit", "console", "discord test", "test", "version")]
HELLO = """
local sipeat = require "sipeat"
local words = require "words"
sipeat.flow {
  topic = "hello", group = "hello", dead_letter = true,
  on = { ["said.hello"] = function(event, ctx)
    ctx.log:info(words.greeting .. " " .. event.data.name)
    ctx:emit("greeted", event.key, words.greeting .. " " .. event.data.name)
  end },
}
"""
WORDS = 'return { greeting = "%s" }\n'
SLOW = """
local sipeat = require "sipeat"
sipeat.flow {
  topic = "slow", group = "slow",
  on = { ["*"] = function(_, ctx)
    ctx.log:info("began")
    ctx:sleep("%s")
    ctx.log:info("finished")
  end },
}
"""
LOADS = """
local words = require "words"
require("sipeat.log").info("loads with " .. words.greeting)
require("sipeat.task").sleep "300ms"
"""


def address(process):
    line = process.wait_log("listening on ")
    return re.search(r"http://[0-9.]+:\d+", line)[0]


class Cli(harness.Case):
    """What every test here shares."""

    def env(self, **extra):
        return extra

    def sipeat(self, *arguments, deadline=60, **env):
        return self.run_sipeat(*arguments, env=self.env(**env), deadline=deadline)

    def begin(self, verb, script, *arguments, **env):
        """A running program, and in its attribute `http` where it serves."""
        process = self.start(verb, script, *arguments, env=self.env(**env))
        process.http = address(process)
        return process

    def ready(self, process):
        wait_for(lambda: get(process.http + "/ready")[0] == 200,
                 lambda: f"ready: {get(process.http + '/ready')}\n{process.tail()}")

    def expect(self, process, code, *parts):
        self.assertEqual(process.returncode, code, process.tail())
        for part in parts:
            self.assertIn(part, process.log + process.output)


class Words(Cli):
    """Help, versions and complaints; nothing is running."""

    def test_every_verb_has_help(self):
        for verb in VERBS:
            with self.subTest(" ".join(verb)):
                process = self.sipeat(*verb, "--help")
                self.expect(process, OK, "usage: sipeat " + " ".join(verb), "--help")
                self.assertEqual(process.log, "")
        for verb in ([], ["topic"], ["group"], ["dlq"], ["discord"]):
            self.expect(self.sipeat(*verb, "--help"), OK, "usage: sipeat ", "verbs:")
        self.expect(self.sipeat("help", "publish"), OK, "usage: sipeat publish")

    def test_the_version_also_for_programs(self):
        self.expect(self.sipeat("--version"), OK, "sipeat ")
        about = self.sipeat("version", "--json")
        self.assertEqual(json.loads(about.output)["name"], "sipeat")

    def test_unknown_words_name_the_nearest_and_exit_2(self):
        for arguments, part in (
                (["pubish"], "did you mean publish?"), (["topic", "lsit"], "did you mean list?"),
                (["banana"], 'unknown verb "banana"'), ([], "a verb is missing"), (["topic"], "a verb is missing"),
                (["run", "x.lua", "--htpp", "off"], "did you mean --http?"),
                (["publish", "--dta", "{}"], "did you mean --data?"), (["run", "-q"], "unknown option -q"),
                (["--brokers", "x"], "options come after the verb"), (["run"], "FILE is missing"),
                (["run", "a.lua", "b.lua"], 'unexpected argument "b.lua"'), (["consume"], "TOPIC is missing"),
                (["consume", "t", "--max", "0"], "--max is not a whole number"),
                (["run", "x.lua", "--drain", "5"], "--drain is not a duration"),
                (["run", "x.lua", "-X", "novalue"], "takes name=value"), (["publish", "a.b"], "--data is missing"),
                (["publish"], "TYPE or --file is missing"), (["group", "reset", "g"], "--topic is missing"),
                (["dev", "x.lua", "--http", "off"], "the page needs a server")):
            with self.subTest(" ".join(arguments)):
                self.expect(self.sipeat(*arguments), USAGE, part, "--help")

    def test_the_short_form_is_run(self):
        process = self.start("--help", env=self.env(), binary=BINARY.parent / "sipeat-run")
        self.assertEqual(process.wait(), OK)
        self.assertIn("usage: sipeat run FILE", process.output)

    def test_results_that_cannot_be_written_are_a_failure(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([BINARY, "--help"], stdout=full, stderr=subprocess.PIPE, env=environment(self.dir),
                                  timeout=30)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn(b"No space left", done.stderr)

    def test_without_a_broker_the_second_terminal_says_what_to_do(self):
        for arguments in (["topic", "list"], ["consume", "t"], ["publish", "a.b", "-t", "t", "--data", "{}"]):
            self.expect(self.sipeat(*arguments), BROKER, "no broker", "KAFKA_BROKERS", "sipeat dev FILE")


class Start(Cli):
    """What keeps a program from starting."""

    def refused(self, text, code, *parts, deadline=60):
        process = self.sipeat("run", self.script(text), "--http", "off", deadline=deadline)
        self.expect(process, code, *parts)

    def test_scripts_that_do_not_load_exit_3(self):
        self.expect(self.sipeat("run", "nowhere.lua", "--http", "off"), SCRIPT, "nowhere.lua", "No such file")
        self.refused("local x = 1\nlocal = 2\n", SCRIPT, "script.lua:2:", "local = 2")
        self.refused("local function f()\n  error('no luck')\nend\nf()\n", SCRIPT, "script.lua:2: no luck", "traceback")
        self.refused("require('sipeat').flow { topik = 'x' }\n", SCRIPT, "script.lua:1:", "did you mean topic?")

    def test_a_script_that_loops_for_ever_at_load_is_stopped(self):
        began = time.monotonic()
        self.refused("local n = 0\nwhile true do\n  n = n + 1\nend\n", SCRIPT, "too long", "script.lua:")
        self.assertLess(time.monotonic() - began, 30)

    def test_a_script_that_waits_for_ever_at_load_is_stopped(self):
        self.refused("require('sipeat.task').sleep('1h')\n", SCRIPT, "did not finish loading in time")

    def test_a_broken_env_file_is_named_with_its_line_and_without_its_values(self):
        (self.dir / ".env").write_text("GOOD=1\nKAFKA_PASSWORD='hunter2\n")
        process = self.sipeat("run", self.script("return"), "--http", "off")
        self.expect(process, SETTINGS, ".env:2:", "KAFKA_PASSWORD", "never closed")
        self.assertNotIn("hunter2", process.log + process.output)

    def test_flags_win_over_the_environment_and_that_over_env_files(self):
        (self.dir / ".env").write_text("KAFKA_BROKERS=127.0.0.1:11\nA=env\nB=env\nC=env\n")
        (self.dir / ".env.local").write_text("export A=local\nB='local' # comment\n")
        script = self.script("local log = require 'sipeat.log'\nlocal get = require('sipeat.env').get\n"
                             "log.info(get 'A' .. ' ' .. get 'B' .. ' ' .. get 'C')\nerror('done')\n")
        process = self.sipeat("run", script, "--http", "off", "-b", "127.0.0.1:12", A="given")
        self.expect(process, SCRIPT, "given local env", "127.0.0.1:12")
        self.assertNotIn("127.0.0.1:11", process.log)
        self.expect(self.sipeat("run", script, "--http", "off"), SCRIPT, "127.0.0.1:11")

    def test_settings_that_are_wrong_exit_5(self):
        script = self.script("return")
        self.expect(self.sipeat("run", script, "--http", "off", "-X", "linger.mss=5"), SETTINGS, "linger.ms?")
        self.expect(self.sipeat("run", script, "--http", "off", "--log-level", "loud"), SETTINGS, "loud", "warn")
        self.expect(self.sipeat("run", script, "--http", "off", "--no-embedded"), SETTINGS, "no broker", "KAFKA_BR")

    def test_a_taken_port_stops_run_with_a_hint_and_moves_dev_on(self):
        script = self.script("return")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            process = self.sipeat("run", script, "--http", f"127.0.0.1:{port}")
            self.expect(process, FAILED, str(port), "--http HOST:PORT")
            dev = self.begin("dev", script, "--http", f"127.0.0.1:{port}")
            dev.wait_log(f"port {port} is taken")
            self.assertNotIn(f":{port}", dev.http)
            self.ready(dev)
            self.assertEqual(dev.stop(), OK, dev.tail())

    def test_http_takes_an_address(self):
        self.expect(self.sipeat("run", self.script("return"), "--http", "nonsense"), FAILED, "HOST:PORT")

    def test_a_broker_that_does_not_answer_is_named_at_once_and_tried_again(self):
        script = self.script(SLOW % "1s")
        port = free_ports(1)[0]
        process = self.begin("run", script, KAFKA_BROKERS=f"127.0.0.1:{port}")
        process.wait_log(f"127.0.0.1:{port}")
        process.wait_log("is Kafka running there?")
        status, body = wait_for(lambda: (a := get(process.http + "/ready"))[0] and a, process.tail)
        self.assertEqual(status, 503)
        self.assertIn("no broker answers", body.decode())
        self.assertEqual(get(process.http + "/ping")[0], 200)
        self.assertEqual(process.stop(), OK, process.tail())

    def test_publishing_to_a_broker_that_does_not_answer_ends_with_4(self):
        process = self.sipeat("publish", "a.b", "-t", "t", "--data", "{}", "--timeout", "1s",
                              KAFKA_BROKERS=f"127.0.0.1:{free_ports(1)[0]}")
        self.expect(process, BROKER, "sipeat publish: t:")


class Dev(Cli):
    """`sipeat dev`, and the other verbs in a second terminal."""

    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="sipeat-cli-")))
        (cls.home / "words.lua").write_text(WORDS % "hello")
        (cls.home / "hello.lua").write_text(HELLO)
        cls.dev = harness.Process(["dev", "hello.lua"], cls.home)
        cls.addClassCleanup(cls.dev.close)
        cls.dev.http = address(cls.dev)
        wait_for(lambda: get(cls.dev.http + "/ready")[0] == 200, cls.dev.tail)

    def env(self, **extra):
        return {"XDG_RUNTIME_DIR": self.home, **extra}

    def consume(self, topic, count, *arguments):
        process = self.sipeat("consume", topic, "--from-beginning", "--max", count, "--timeout", "20s", *arguments)
        self.expect(process, OK)
        return process.output.splitlines()

    def test_it_says_where_to_look_and_what_to_type(self):
        text = self.dev.output
        self.assertIn(self.dev.http + "/", text)
        self.assertIn("publish TYPE --topic hello --data", text)
        self.assertIn("keeps events in memory only", self.dev.log)
        status, page = get(self.dev.http + "/")
        self.assertEqual(status, 200)
        self.assertIn(b"<html", page.lower())

    def test_an_event_from_another_terminal_is_handled(self):
        process = self.sipeat("publish", "said.hello", "--topic", "hello", "--key", "k", "--data", '{"name": "Ada"}')
        self.expect(process, OK, "published to hello, partition", "using the embedded broker of hello.lua")
        self.dev.wait_log("hello Ada")
        wait_for(lambda: "hello Ada" in self.sipeat("consume", "greeted", "--from-beginning", "--timeout", "1s").output,
                 self.dev.tail)

    def test_a_file_of_events_with_broken_lines_names_them_and_sends_the_rest(self):
        lines = [json.dumps({"type": "said.hello", "topic": "file", "key": n, "data": {"name": f"n{n}"}})
                 for n in range(1500)]
        lines[3] = "no JSON"
        lines[7] = '{"type": "said.hello"}'
        lines[9] = '{"topic": "file", "key": "raw", "value": "as it is", "headers": {"a": "b"}}'
        lines[11] = '{"typ": "x"}'
        (self.dir / "events.jsonl").write_text("\n".join(lines))
        process = self.sipeat("publish", "--file", "events.jsonl")
        self.expect(process, FAILED, "events.jsonl:4:", "events.jsonl:8:", "--topic", "events.jsonl:12:",
                    "did you mean type?", "1497 published, 3 failed")
        records = [json.loads(line) for line in self.consume("file", 1497, "--json")]
        self.assertEqual(len({(r["partition"], r["offset"]) for r in records}), 1497)
        raw = next(r for r in records if r["key"] == "raw")
        self.assertEqual((raw["value"], raw["headers"]), ("as it is", {"a": "b"}))
        one = next(r for r in records if r["key"] == "20")
        self.assertEqual(json.loads(one["value"]), {"name": "n20"})
        self.assertEqual(one["headers"]["ce_type"], "said.hello")

    def test_events_from_standard_input_go_out_as_they_come(self):
        popen = subprocess.Popen([BINARY, "publish", "--file", "-", "--topic", "stdin", "--json"], cwd=self.dir,
                                 env=environment(self.dir, self.env()), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        with popen:
            for number in range(3):
                popen.stdin.write(json.dumps({"value": f"v{number}"}).encode() + b"\n")
                popen.stdin.flush()
                wait_for(lambda n=number: len(self.consume("stdin", n + 1)) == n + 1, f"record {number}")
            out, _ = popen.communicate(timeout=30)
        self.assertEqual(popen.returncode, OK)
        self.assertEqual([json.loads(line)["topic"] for line in out.splitlines()], ["stdin"] * 3)

    def test_ctrl_c_ends_a_consume_cleanly(self):
        self.sipeat("publish", "a.b", "-t", "endless", "--data", "1")
        process = self.start("consume", "endless", "--from-beginning", env=self.env())
        wait_for(lambda: process.output, process.tail)
        self.assertEqual(process.stop(signal.SIGINT), OK, process.tail())

    def test_control_bytes_of_a_record_do_not_reach_the_terminal(self):
        self.sipeat("publish", "a.b", "-t", "bytes", "--key", "\x1b[31mred", "--data", '"\\u001b[2J"')
        line = self.consume("bytes", 1)[0]
        self.assertNotIn("\x1b", line)
        self.assertIn("\\x1b[31mred", line)

    def test_topics_are_made_listed_and_shown(self):
        self.expect(self.sipeat("topic", "create", "made"), OK, "created made with")
        self.expect(self.sipeat("topic", "create", "seven", "--partitions", "7"), OK, "created seven with 7 partitions")
        self.expect(self.sipeat("topic", "create", "seven", "--partitions", "7"), BROKER, "already exists")
        self.sipeat("publish", "a.b", "-t", "made", "--data", "1")
        listed = [json.loads(line) for line in self.sipeat("topic", "list", "--json").output.splitlines()]
        made = next(topic for topic in listed if topic["name"] == "made")
        self.assertGreaterEqual(made["partitions"], 1)
        shown = json.loads(self.sipeat("topic", "show", "made", "--json").output)
        self.assertEqual(sum(p["high"] - p["low"] for p in shown["partitions"]), 1)
        self.expect(self.sipeat("topic", "show", "made"), OK, "PARTITION", "RECORDS")
        self.expect(self.sipeat("topic", "show", "nowhere-to-be-found"), BROKER, "nowhere-to-be-found")
        self.expect(self.sipeat("topic", "delete", "made"), FAILED, "Type its name", "nothing was deleted")

    def test_a_group_is_shown_and_not_reset_while_it_has_members(self):
        self.sipeat("publish", "said.hello", "-t", "hello", "--data", '{"name": "Grace"}')
        self.dev.wait_log("hello Grace")
        wait_for(lambda: "COMMITTED" in self.sipeat("group", "show", "hello").output, self.dev.tail)
        self.expect(self.sipeat("group", "list"), OK, "GROUP", "hello", "its own process")
        self.expect(self.sipeat("group", "show", "hello"), OK, "Stable, 1 member")
        process = self.sipeat("group", "reset", "hello", "--topic", "hello", "--to", "beginning", "--yes")
        self.expect(process, BROKER, "running members")
        metrics = get(self.dev.http + "/metrics")[1].decode()
        self.assertIn('sipeat_flow_partitions{group="hello"} 4', metrics)  # nobody joined to find that out
        self.expect(self.sipeat("group", "reset", "hello", "--topic", "hello", "--to", "yesterday"), USAGE, "beginning")

    def test_what_the_program_answers_over_http(self):
        self.assertEqual(get(self.dev.http + "/ping"), (200, b"pong\n"))
        about = json.loads(get(self.dev.http + "/version")[1])
        self.assertEqual((about["name"], about["script"]), ("sipeat", "hello.lua"))
        metrics = get(self.dev.http + "/metrics")[1].decode()
        self.assertIn('sipeat_flow_taken_total{group="hello"}', metrics)
        self.assertTrue(metrics.endswith("# EOF\n"), metrics[-80:])


class Cluster(Cli):
    """Topics and groups of a real Kafka."""

    @classmethod
    def setUpClass(cls):
        cls.kafka = cls.enterClassContext(Kafka())

    def env(self, **extra):
        return {"KAFKA_BROKERS": self.kafka.address, **extra}

    def typed(self, text, *arguments):
        return subprocess.run([BINARY, *arguments], input=text, capture_output=True, text=True, timeout=60,
                              cwd=self.dir, env=environment(self.dir, self.env()))

    def test_a_topic_from_its_making_to_its_end(self):
        self.expect(self.sipeat("topic", "create", "life", "--partitions", "3", "--config", "retention.ms=60000"), OK,
                    "created life with 3 partitions")
        self.expect(self.sipeat("topic", "create", "life"), BROKER, "already exists")
        self.expect(self.sipeat("topic", "create", "odd", "--config", "nonsense=1"), BROKER, "nonsense")
        self.expect(self.sipeat("topic", "show", "life"), OK, "PARTITION", "\nretention.ms=60000")
        shown = json.loads(self.sipeat("topic", "show", "life", "--json").output)
        self.assertIn({"name": "retention.ms", "value": "60000"}, shown["configuration"])
        self.assertEqual(self.kafka.wire.count("life"), 0)
        self.expect(self.sipeat("publish", "a.b", "-t", "life", "--data", "{}"), OK, "published to life")
        self.assertEqual(self.kafka.wire.count("life"), 1)
        self.assertEqual(self.typed("lief\n", "topic", "delete", "life").returncode, FAILED)
        self.assertIn("life", self.kafka.wire.topics())
        done = self.typed("life\n", "topic", "delete", "life")
        self.assertEqual((done.returncode, done.stdout), (OK, "deleted life\n"), done.stderr)
        wait_for(lambda: "life" not in self.kafka.wire.topics(), "the topic is gone")
        for arguments in (["topic", "show", "life"], ["topic", "delete", "life", "--yes"], ["consume", "life"]):
            self.expect(self.sipeat(*arguments), BROKER, "Unknown topic", "sipeat topic create NAME")

    def test_a_group_is_reset_only_without_members(self):
        self.kafka.wire.create_topic("done", 1)
        for _ in range(3):
            self.sipeat("publish", "a.b", "-t", "done", "--data", "1")
        script = 'require("sipeat").flow { topic = "done", group = "doers", on = { ["*"] = function() end } }'
        process = self.begin("run", self.script(script))
        wait_for(lambda: self.kafka.wire.lag("doers", "done") == 0, process.tail)
        self.expect(self.sipeat("group", "list"), OK, "doers", "Stable")
        reset = ["group", "reset", "doers", "--topic", "done", "--to"]
        self.expect(self.sipeat(*reset, "beginning", "--yes"), BROKER, "running members")
        self.assertEqual(process.stop(), OK, process.tail())
        self.expect(self.sipeat(*reset, "beginning"), FAILED, "Type its name", "nothing was changed")
        self.assertEqual(self.kafka.wire.lag("doers", "done"), 0)
        for where, lag in (("beginning", 3), ("offset:2", 1), ("end", 0), ("2020-01-01T00:00:00Z", 3)):
            done = self.typed("doers\n", *reset, where)
            self.assertEqual(done.returncode, OK, done.stderr)
            self.assertEqual(self.kafka.wire.lag("doers", "done"), lag, where)


class Life(Cli):
    """Reloading and stopping."""

    def hello(self, *arguments, **env):
        self.words = self.script(WORDS % "hello", "words.lua")
        process = self.begin("run", self.script(HELLO), *arguments, **env)
        self.ready(process)
        return process

    def say(self, process, name, expected, deadline=10):
        self.expect(self.sipeat("publish", "said.hello", "-t", "hello", "--data", json.dumps({"name": name})), OK)
        process.wait_log(f"{expected} {name}", deadline)

    def test_a_save_while_the_first_version_loads_is_taken_over(self):
        words = self.script(WORDS % "hello", "words.lua")
        process = self.start("run", self.script(LOADS), env=self.env())
        process.wait_log("loads with hello")
        save(words, WORDS % "good day")
        process.wait_log("loads with good day")
        process.wait_log("loaded in")
        self.assertEqual(process.stop(), OK, process.tail())

    def test_a_save_is_taken_over_and_a_bad_edit_is_refused(self):
        process = self.hello()
        self.say(process, "one", "hello")
        save(self.words, WORDS % "good day")
        process.wait_log("loaded in", 5)
        self.say(process, "two", "good day")
        save(self.words, "return {")
        self.assertIn("the old version goes on", process.wait_log("words.lua:1:", 5))
        self.say(process, "three", "good day")
        self.assertIn("words.lua", json.loads(get(process.http + "/version")[1])["reload_error"])
        self.words.write_text(WORDS % "good night")  # in place this time
        wait_for(lambda: process.log.count("loaded in") == 2, process.tail, 5)
        self.say(process, "four", "good night")
        self.assertNotIn("reload_error", json.loads(get(process.http + "/version")[1]))
        self.assertEqual(process.stop(), OK, process.tail())

    def test_a_module_that_was_missing_is_taken_up_when_it_is_there(self):
        process = self.hello()
        save(self.dir / "script.lua", HELLO.replace('require "words"', 'require "others"'))
        process.wait_log("refused", 5)
        save(self.dir / "others.lua", WORDS % "welcome")
        process.wait_log("loaded in", 5)
        self.say(process, "five", "welcome")
        self.assertEqual(process.stop(), OK, process.tail())

    def test_without_watching_only_a_signal_or_a_request_reloads(self):
        process = self.hello("--no-watch")
        save(self.words, WORDS % "bonjour")
        self.say(process, "one", "hello")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_log("loaded in", 5)
        self.say(process, "two", "bonjour")
        save(self.words, WORDS % "salut")
        request = urllib.request.Request(process.http + "/admin/reload", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.assertTrue(json.load(answer)["reloaded"])
        self.say(process, "three", "salut")
        save(self.words, "return nil +")
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=10)
        with raised.exception as refused:
            self.assertEqual(refused.code, 409)
            self.assertIn("words.lua:1:", json.load(refused)["error"])
        page = urllib.request.Request(process.http + "/admin/reload", method="POST", headers={"Origin": "http://evil"})
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(page, timeout=10)
        with raised.exception as refused:
            self.assertEqual(refused.code, 403)
        self.assertEqual(process.stop(), OK, process.tail())

    def test_what_is_in_flight_finishes_before_the_end(self):
        process = self.begin("run", self.script(SLOW % "1500ms"))
        self.ready(process)
        self.sipeat("publish", "a.b", "-t", "slow", "--data", "1")
        process.wait_log("began")
        began = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: get(process.http + "/ready")[0] in (503, 0), process.tail, 5)
        self.assertEqual(process.wait(20), OK, process.tail())
        self.assertIn("finished", process.log)
        self.assertLess(time.monotonic() - began, 12)
        self.assertEqual(list((self.dir / "sipeat").iterdir()), [])

    def test_the_drain_has_a_limit(self):
        process = self.begin("run", self.script(SLOW % "1h"), "--drain", "500ms")
        self.ready(process)
        self.sipeat("publish", "a.b", "-t", "slow", "--data", "1")
        process.wait_log("began")
        began = time.monotonic()
        self.assertEqual(process.stop(deadline=20), OK, process.tail())
        self.assertLess(time.monotonic() - began, 10)

    def test_a_second_signal_ends_at_once(self):
        process = self.begin("run", self.script(SLOW % "1h"))
        self.ready(process)
        self.sipeat("publish", "a.b", "-t", "slow", "--data", "1")
        process.wait_log("began")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_log("finishing what is in flight")
        self.assertEqual(process.stop(signal.SIGINT, 5), 128 + signal.SIGINT, process.tail())

    def test_a_signal_while_the_script_loads_ends_it(self):
        process = self.begin("run", self.script("require('sipeat.log').info('loading')\n"
                                                "require('sipeat.task').sleep('4s')\n"))
        process.wait_log("loading")
        began = time.monotonic()
        self.assertEqual(process.stop(), OK, process.tail())
        self.assertLess(time.monotonic() - began, 3.5)

    def test_samples_are_published_again_and_again(self):
        (self.dir / "samples.jsonl").write_text(
            '{"type": "said.hello", "data": {"name": "sample"}}\n')  # to the only flow's topic
        self.script(WORDS % "hello", "words.lua")
        process = self.begin("dev", self.script(HELLO), "--samples", "samples.jsonl", "--every", "50ms")
        wait_for(lambda: process.log.count("hello sample") >= 5, process.tail)
        self.assertEqual(process.stop(), OK, process.tail())

    def test_samples_that_are_broken_end_dev_with_their_line(self):
        (self.dir / "samples.jsonl").write_text('{"type": "said.hello", "topic": "t", "data": 1}\nnonsense\n')
        process = self.begin("dev", self.script("return"), "--samples", "samples.jsonl")
        self.assertEqual(process.wait(), FAILED, process.tail())
        self.assertIn("samples.jsonl:2:", process.log)


if __name__ == "__main__":
    harness.main()
