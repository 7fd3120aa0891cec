"""The console's API as a program uses it: requests with a token, and server-sent events as they come."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from support import harness


def token(state, role, name=None):
    """A token of that role in the state directory of a program."""
    made = subprocess.run(
        [harness.BINARY, "token", "add", name or f"test-{role}", "--role", role, "--state", state, "--json"],
        check=True, capture_output=True, text=True, timeout=30)
    return json.loads(made.stdout)["token"]


class Api:
    """`url` of the program and a token."""

    def __init__(self, url, secret):
        self.url, self.secret = url + "/console/api/", secret

    def open(self, method, path, body=None, timeout=60, **headers):
        headers["Authorization"] = f"Bearer {self.secret}"
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(
            urllib.request.Request(self.url + path, data, headers, method=method), timeout=timeout)

    def call(self, method, path, body=None):
        """(status, value of the JSON)."""
        try:
            with self.open(method, path, body) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def get(self, path):
        """The value; fails on any other status than 200."""
        status, value = self.call("GET", path)
        assert status == 200, (path, status, value)
        return value

    def post(self, path, body, expected=200):
        status, value = self.call("POST", path, body)
        assert status == expected, (path, status, value)
        return value

    def stream(self, path, **query):
        """Events of a stream: (name, data, seconds since it was asked for), until done or problem."""
        text = urllib.parse.urlencode(query, doseq=True)
        began, name = time.monotonic(), None
        with self.open("GET", path + ("?" + text if text else "")) as answer:
            for line in answer:
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:]), time.monotonic() - began
                    if name in ("done", "problem"):
                        return

    def messages(self, topic, **query):
        """(messages, the last event) of a search."""
        events = list(self.stream(f"topics/{topic}/messages", **query))
        return [data for name, data, _ in events if name == "message"], events[-1][1]
