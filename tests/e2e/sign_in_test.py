"""The sign-in in a browser: on a phone and a desk, light and dark, without JavaScript, by the keyboard; and what pages
forbid: they let in a mail's own styles, and nothing that a mail or a name would run."""

import re

from support import harness
from support.browser import DESK, PHONE, Browser

PASSWORD = "correct horse battery"
SCRIPT = """
local access = require "sipeat.access"
local http = require "sipeat.http"
http.route("GET /console", access.guard("viewer", function(req)
  return access.page(('<!doctype html><html lang="en"><title>Console</title><main><h1>Hello %s</h1>'
    .. '<form method="post" action="/console/sign-out"><input type="hidden" name="csrf" value="%s">'
    .. '<button>Sign out</button></form></main>'):format(req.user.name, req.user.csrf))
end))
http.route("GET /inline", function()
  return access.page('<!doctype html><p id="p" style="color:red">x<script>document.title = "bad"</script>')
end)
http.route("POST /mail", function()
  return { json = { number = require("sipeat.capture").record("mail", { subject = "x", html =
    '<style>h1{color:rgb(1,2,3)}</style><h1>Hello</h1><p style="color:rgb(4,5,6)">x</p>'
    .. '<script>document.title = "bad"</script>' }) } }
end)
"""


class SignIn(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        super().setUp()
        env = {"SIPEAT_ACCESS": self.dir / "access.db"}
        (self.dir / "password").write_text(PASSWORD)
        done = self.run_sipeat("user", "add", "ada", "--password-file", "password", env=env)
        self.assertEqual(done.returncode, 0, done.log)
        process = self.start("dev", self.script(SCRIPT), "--no-watch", env=env)
        self.url = re.search(r"http://[0-9.]+:\d+", process.wait_log("listening on "))[0]
        process.wait_log(": version ")

    def test_one_signs_in_without_javascript_and_out(self):
        page = self.browser.page(PHONE, javaScriptEnabled=False)
        page.go(self.url + "/console?tab=chains")
        page.see("role=heading[name='Sign in']")
        page.fill("#name", "ada<b>")
        page.fill("#password", "not this one")
        page.press("Enter")
        page.see("role=alert")
        self.assertEqual(page.text("role=alert"), "The name or the password is not right.")
        self.assertEqual(page.count("b"), 0)
        page.fill("#name", "ada")
        page.fill("#password", PASSWORD)
        page.press("Enter")
        page.see("text=Hello ada")
        self.assertEqual(page.call("url"), self.url + "/console?tab=chains")
        (cookie,) = [one for one in page.call("cookies") if one["name"] == "sipeat_session"]
        self.assertEqual((cookie["httpOnly"], cookie["sameSite"]), (True, "Lax"))
        page.click("text=Sign out")
        page.see("role=heading[name='Sign in']")
        page.go(self.url + "/console")
        page.see("role=heading[name='Sign in']")

    def test_the_page_suits_each_size_and_scheme(self):
        page = self.browser.page(DESK)
        page.go(self.url + "/console/sign-in")
        self.assertEqual(page.look("sign-in"), [])
        self.assertEqual(page.evaluate("document.activeElement.id"), "name")
        page.fill("#name", "ada")
        page.fill("#password", "not this one")
        page.press("Enter")
        page.see("role=alert")
        self.assertEqual(page.look("sign-in-refused"), [])
        self.assertEqual(page.evaluate("document.activeElement.id"), "password")
        self.assertEqual([one for one in page.problems() if "status of 401" not in one], [], "its icon is there, too")

    def test_nothing_inline_runs_and_a_mail_keeps_its_styles(self):
        page = self.browser.page(DESK)
        page.go(self.url + "/inline")
        self.assertEqual(page.evaluate("document.title"), "")
        self.assertEqual(page.evaluate("getComputedStyle(document.querySelector('#p')).color"), "rgb(0, 0, 0)")
        self.assertIn("Content Security Policy", " ".join(page.problems()))
        number = page.evaluate("fetch('/mail', {method: 'POST'}).then(a => a.json()).then(a => a.number)")
        page.go(f"{self.url}/capture/mail/{number}")
        colors = page.evaluate("[...document.querySelectorAll('h1, p')].map(one => getComputedStyle(one).color)")
        self.assertEqual(colors, ["rgb(1, 2, 3)", "rgb(4, 5, 6)"])
        self.assertEqual(page.call("title"), "")


if __name__ == "__main__":
    harness.main()
