"""The support for pages: what goes wrong in a page is noticed."""

import http.server
import threading

from support.browser import DESK, PHONE, Browser
from support.harness import Case, main

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:"
GOOD = """<!doctype html><html lang="en"><title>Good</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<main><h1>Orders</h1><label>Name <input name="name"></label><button>Send</button></main></html>"""
BAD = """<!doctype html><html lang="en"><title>Bad</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<main><h1>Orders</h1><input name="name"><script>document.title = "ran"</script>
<pre>""" + "wide " * 200 + "</pre></main></html>"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = {"/good": GOOD, "/bad": BAD}.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("content-type", "text/html")
        self.send_header("content-security-policy", POLICY)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class BrowserTest(Case):
    def setUp(self):
        super().setUp()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.browser = self.enterContext(Browser())

    def test_a_page_is_looked_at(self):
        page = self.browser.page(PHONE)
        self.assertEqual(page.go(self.url + "/good"), 200)
        page.fill("[name=name]", "Ada")
        self.assertEqual(page.evaluate("document.querySelector('[name=name]').value"), "Ada")
        size_and_dark = "[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]"
        self.assertEqual(page.evaluate(size_and_dark), [PHONE[0], False])
        self.assertEqual(page.look("good"), [])
        self.assertEqual(page.evaluate(size_and_dark), [DESK[0], True])
        self.assertEqual(page.problems(), [])

    def test_what_is_wrong_is_found(self):
        page = self.browser.page(PHONE)
        page.go(self.url + "/bad")
        found = "\n".join(page.look("bad", sizes=(PHONE,), schemes=("light",)))
        self.assertIn("label: Form elements must have labels", found)
        self.assertIn("it can be moved sideways", found)
        self.assertIn("Content Security Policy", "".join(page.problems()))
        with self.assertRaisesRegex(AssertionError, "a page has no fly"):
            page.call("fly")


if __name__ == "__main__":
    main()
