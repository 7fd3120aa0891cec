"""A strict stand-in for Slack: incoming webhooks at /services/T/B/X and /api/chat.postMessage.

It refuses what Slack refuses, with its words, and text in which a mention or link of somebody else stands. Answers on
demand: "limited" (429, Retry-After: 1), "error" (500), "hang" (no answer for a minute), "drop" (taken, no answer),
"lie" (200 with a page that is not Slack's).
"""

import re
import threading

from support.fake_service import FakeService, Reply, main

LIMITS = {"header": 150, "section": 3000}
MARKUP = re.compile(r"<[!@#][^>]*>")


class FakeSlack(FakeService):
    answers = ("limited", "error", "hang", "drop", "lie")

    def __init__(self, host="127.0.0.1", port=0):
        self.messages, self.stop = [], threading.Event()
        super().__init__(host, port)
        self.webhook, self.api = self.url + "/services/T1/B1/x", self.url + "/api"

    def close(self):
        self.stop.set()
        super().close()

    def state(self):
        return {"messages": self.messages}

    @staticmethod
    def problem(message):
        blocks = message.get("blocks", [])
        text = message.get("text", "")
        if not isinstance(text, str) or not isinstance(blocks, list) or not (text or blocks):
            return "no_text"
        if len(text) > 40000:
            return "msg_too_long"
        texts = [text]
        for block in blocks:
            inner = [block["text"]] if "text" in block else []
            inner += block.get("fields", []) + block.get("elements", [])
            texts += [one.get("text", "") for one in inner]
            limit = LIMITS.get(block.get("type"), 3000)
            too_long = any(len(one.get("text", "")) > limit for one in inner)
            if block.get("type") not in ("header", "section", "context", "divider") or too_long:
                return "invalid_blocks"
            if len(block.get("fields", [])) > 10 or any(len(f["text"]) > 2000 for f in block.get("fields", [])):
                return "invalid_blocks"
        if any(MARKUP.search(one) for one in texts):
            return "a_mention_that_nobody_meant"
        return "invalid_blocks" if len(blocks) > 50 else None

    def reply(self, request):
        answer = self.take_answer(*self.answers)
        if answer == "limited":
            return Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "1"})
        if answer == "error":
            return Reply(500, {"ok": False, "error": "fatal_error"})
        if answer == "hang":
            self.stop.wait(60)
            return Reply(500, drop=True)
        if answer == "lie":
            return Reply(200, b"<html>Welcome</html>")
        message = self.json(request)
        is_api = request.path == "/api/chat.postMessage"
        problem = self.problem(message)
        if is_api and not request.headers.get("authorization", "").startswith("Bearer xoxb-"):
            return Reply(200, {"ok": False, "error": "not_authed"})
        if problem:
            return Reply(200, {"ok": False, "error": problem}) if is_api else Reply(400, problem.encode())
        with self.lock:
            self.messages.append(message)
        if is_api:
            return Reply(200, {"ok": True, "channel": message["channel"], "ts": f"1700000000.{len(self.messages):06d}"},
                         drop=answer == "drop")
        return Reply(200, b"ok", drop=answer == "drop")


if __name__ == "__main__":
    main(lambda given: FakeSlack(given.host, given.port), __doc__)
