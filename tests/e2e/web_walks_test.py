"""What customers and operators do on the pages of SipEat, in a browser: with and without JavaScript, on a phone and a
desk, light and dark, each page looked at by axe-core."""

import os

from support import harness
from support.browser import DESK, PHONE, Browser
from support.site import Site

# Each page at each size: with the soak, and where pictures are wanted.
THOROUGH = os.environ.get("SIPEAT_SOAK") or os.environ.get("SIPEAT_SCREENSHOTS")
EVIL = "<img src=x onerror=alert(1)>"
# Keeps what a live page showed, each time that it changed.
WATCH = """
window.shown = [];
new MutationObserver(() => window.shown.push([...document.querySelectorAll('.steps li')].map((li) => li.innerText)))
  .observe(document.querySelector('[data-live]'), { childList: true, subtree: true });
"""


class Walks(Site):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())

    def setUp(self):
        super().setUp()
        self.open(self.breakable(), env={"SIPEAT_SIM_DISPENSE_TIME": "700ms", "TEST_STORE_PAUSE": "400ms"})

    def look(self, page, name):
        found = page.look(name) if THOROUGH else page.look(name, sizes=(PHONE,))
        self.assertEqual(found, [], name)

    def fine(self, page):
        refused = "status of 422"  # a form that was sent with something wrong in it
        problems = [problem for problem in page.problems() if refused not in problem]
        self.assertEqual((problems, page.call("dialogs")), ([], []))

    def order(self, page, drink="Coca-Cola", card="pm_card_visa", name="Grace"):
        page.go(self.base + "/request?machine=M12345")
        page.click(f"text={drink}")
        page.fill("#customerName", name)
        page.fill("#email", "grace@example.org")
        page.select("#paymentMethod", card)
        page.click("text=Order and pay")
        page.see(".steps")

    def test_contact(self):
        page = self.browser.page(PHONE)
        page.go(self.base + "/")
        self.look(page, "contact")
        page.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        page.fill("#name", EVIL)
        page.fill("#email", "nobody")
        page.click("role=button[name='Send']")
        page.see("[data-errors]")
        self.assertEqual(page.evaluate("document.activeElement.dataset.errors"), "")
        self.look(page, "contact-wrong")
        self.assertEqual(page.evaluate("document.querySelector('#name').value"), EVIL)
        page.click("[data-errors] a[href='#email']")
        page.fill("#email", "ada@example.org")
        page.fill("#message", "Hello\nthere")
        page.click("role=button[name='Send']")
        page.see("h1:has-text('Thank you')")
        self.look(page, "contact-thanks")
        here = page.evaluate("location.pathname")
        page.evaluate("history.back()")
        page.see("#message")
        page.click("role=button[name='Send']")
        page.see("h1:has-text('Thank you')")
        self.assertEqual(page.evaluate("location.pathname"), here, "sent twice, one message")
        self.assertEqual(self.wire.count("sipeat.contact.events"), 1)
        page.go(self.base + "/capture")
        page.see("text=New Contact Form Submission")
        page.see("text=New contact")
        self.assertEqual(len(self.captured("mail")), 2)
        self.fine(page)

    def test_a_drink(self):
        page = self.browser.page(PHONE)
        page.go(self.base + "/request")
        self.look(page, "request")
        page.select("#machine", "M12345")
        page.see("text=Coca-Cola")
        self.look(page, "request-drinks")
        page.click("text=Order and pay")
        page.see("#slot-error")
        self.look(page, "request-wrong")
        self.order(page, name=EVIL)
        page.evaluate(WATCH)
        page.evaluate("window.same = true")
        self.look(page, "request-under-way")
        page.see("text=Your Coca-Cola is out")
        self.assertTrue(page.evaluate("window.same"), "the page was live, and not loaded again")
        self.assertTrue(any("under way" in step for steps in page.evaluate("window.shown") for step in steps))
        self.look(page, "request-done")
        self.fine(page)

    def test_the_money_comes_back(self):
        page = self.browser.page(DESK, "dark")
        self.order(page, card="pm_card_chargeDeclined")
        page.see("text=Your card was declined. You have not been charged.")
        self.look(page, "request-declined")
        self.order(page)
        page.see("text=Your Coca-Cola is out")
        self.assertEqual(self.visitor().ask("POST", "/test/break/M12345?kind=jam").status, 200)
        self.order(page)
        page.see("text=You get your money back: 2.50 EUR")
        self.look(page, "request-money-back")
        self.assertEqual(len([p for p in self.captured("payment") if "refund" in str(p)]), 1)
        self.fine(page)

    def test_a_machine_is_set_up(self):
        page = self.browser.page(DESK)
        page.go(self.base + "/machines")
        self.look(page, "machines")
        page.click("text=Set a machine up")
        page.see("#machineId")
        page.click("text=More slots")
        page.see("#slots-8-drink")
        for field, text in (("machineId", "M7"), ("machineName", EVIL), ("location-address", "7 High Street"),
                            ("slots-1-drink", "Tea"), ("slots-1-stock", "three"), ("slots-1-price", "1.20")):
            page.fill("#" + field, text)
        page.click("text=Set it up")
        page.see("#slots-1-stock-error")
        self.look(page, "machine-wrong")
        page.fill("#slots-1-stock", "3")
        page.click("text=Set it up")
        page.see("[data-live]")
        page.evaluate(WATCH)
        page.see("text=The machine is ready")
        shown = page.evaluate("window.shown")
        done = [sum(step.endswith("done") for step in steps) for steps in shown]
        self.assertEqual((done, done[-1]), (sorted(done), 7), "one command after the other")
        self.assertGreaterEqual(len(set(done)), 4, shown)
        self.look(page, "machine-set-up")
        page.go(self.base + "/machines/M7")
        self.look(page, "machine")
        page.go(self.base + "/request?machine=M7")
        page.see("text=Tea")
        page.go(self.base + "/api")
        self.look(page, "api")
        self.fine(page)

    def test_without_javascript(self):
        page = self.browser.page(PHONE, javaScriptEnabled=False)
        page.go(self.base + "/request")
        page.select("#machine", "M20001")
        page.click("text=Show its drinks")
        page.see("text=Espresso")
        page.shot("request-no-script")
        page.click("text=Water")
        page.fill("#customerName", "Alan")
        page.click("text=Order and pay")
        page.see(".steps")
        self.process.until(lambda: page.count("text=The motor has turned") or page.click("noscript a"), "its end")
        page.shot("request-no-script-done")


if __name__ == "__main__":
    harness.main()
