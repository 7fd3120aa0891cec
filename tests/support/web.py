"""A browser without JavaScript: keeps cookies, reads forms, sends them, and follows nothing by itself."""

import contextlib
import html
import html.parser
import http.client
import json
import re
import urllib.parse


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def seen(self):
        """The text of a page as a person sees it."""
        text = re.sub(r"<(script|style|head).*?</\1>", " ", self.text, flags=re.S)
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).strip()

    @property
    def location(self):
        return self.headers.get("location")

    def json(self):
        return json.loads(self.body)

    def form(self, action):
        """The fields of the form that leads there, with what is filled in or chosen."""
        parser = FormReader(action)
        parser.feed(self.text)
        assert parser.found, f"no form leads to {action}: {self.text}"
        return parser.fields


class FormReader(html.parser.HTMLParser):
    def __init__(self, action):
        super().__init__()
        self.action, self.inside, self.found, self.fields = action, False, False, {}
        self.select = self.area = None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag == "form":
            self.inside = attributes.get("action") == self.action
            self.found = self.found or self.inside
        elif not self.inside:
            return
        elif tag == "input" and name and attributes.get("type") not in ("radio", "checkbox"):
            self.fields[name] = attributes.get("value") or ""
        elif tag == "input" and name and "checked" in attributes:
            self.fields[name] = attributes.get("value") or "on"
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select:
            if "selected" in attributes or self.select not in self.fields:
                self.fields[self.select] = attributes.get("value")
        elif tag == "textarea":
            self.area, self.fields[name] = name, ""

    def handle_endtag(self, tag):
        if tag == "form":
            self.inside = False
        elif tag == "select":
            self.select = None
        elif tag == "textarea":
            if self.area:
                self.fields[self.area] = self.fields[self.area].removeprefix("\n")
            self.area = None

    def handle_data(self, data):
        if self.area:
            self.fields[self.area] += data


class Visitor:
    """One visitor of http://host:port, with cookies of their own."""

    def __init__(self, base, **headers):
        self.address = urllib.parse.urlsplit(base).netloc
        self.headers, self.cookies = headers, {}

    def ask(self, method, path, body=None, timeout=20, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, sent)  # a body too large is answered before it was sent
            reply = connection.getresponse()
            for line in reply.headers.get_all("set-cookie") or ():
                name, value = line.split(";")[0].split("=", 1)
                self.cookies[name] = value
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, **{"accept": "text/html", **headers})

    def post(self, path, fields, **headers):
        """Sends a form, given as fields or as a body already written."""
        body = fields if isinstance(fields, (bytes, str)) else urllib.parse.urlencode(fields)
        return self.ask("POST", path, body, **{"content_type": "application/x-www-form-urlencoded", **headers})

    def post_json(self, path, value, **headers):
        body = value if isinstance(value, (bytes, str)) else json.dumps(value)
        return self.ask("POST", path, body, **{"content_type": "application/json", **headers})
