"""Pages in Debian's Chromium, driven through tests/browser/bridge.mjs (playwright-core).

`with Browser() as browser:` starts it; `browser.page(PHONE, "dark")` gives a page with cookies of its own. A selector
is one of Playwright's: CSS, "text=...", "role=button[name='Send']". Each wait ends after the machine's patience.
A page that logged an error, threw or met its content security policy says so in `problems()`.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import threading

HERE = pathlib.Path(__file__).parents[1] / "browser"
PHONE, DESK = (390, 844), (1440, 900)
SCHEMES = ("light", "dark")
PATIENCE = float(os.environ.get("SIPEAT_TEST_PATIENCE", "3"))
CHROMIUM = os.environ.get("SIPEAT_CHROMIUM", "/usr/bin/chromium")
# Nothing is asked of the network but what a test names; pages look the same on machines with a graphics card.
FLAGS = ["--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--disable-component-update"]


def modules():
    """The folder with the bridge and its packages, filled by `npm ci` once for each lockfile."""
    cache = pathlib.Path(os.environ.get("SIPEAT_CACHE", pathlib.Path.home() / ".cache/sipeat"))
    lockfile = HERE / "package-lock.json"
    place = cache / f"browser-{hashlib.sha256(lockfile.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "browser.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / ".done").exists():
            place.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(HERE / name, place)
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                           cwd=place, check=True, stdin=subprocess.DEVNULL, timeout=300)
            (place / ".done").touch()
    return place


class Browser:
    """Chromium, until the end of the `with`."""

    def __init__(self):
        self.lock, self.ids = threading.Lock(), itertools.count(1)
        self.process = None

    def __enter__(self):
        # The bridge is read from its own place in the sources, and its packages are looked for beside the lockfile.
        place = modules()
        bridge = place / f"bridge-{os.getpid()}.mjs"
        bridge.write_bytes((HERE / "bridge.mjs").read_bytes())
        self.process = subprocess.Popen(["node", bridge], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
        try:
            self.version = self.ask(None, "launch", CHROMIUM, flags)
        except BaseException:
            self.__exit__()
            raise
        finally:
            bridge.unlink()
        return self

    def __exit__(self, *_):
        process, self.process = self.process, None
        if process:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def ask(self, page, call, *arguments):
        """What the bridge answers; fails with what it says."""
        with self.lock:
            request = {"id": next(self.ids), "page": page, "call": call, "args": arguments}
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the browser's bridge ended during {call}")
        reply = json.loads(line)
        if "error" in reply:
            raise AssertionError(f"{call}{arguments!r}: {reply['error']}")
        return reply["value"]

    def page(self, size=DESK, scheme="light", **options):
        """A page of that size in a context of its own; options as of Playwright's newContext."""
        options = {"viewport": {"width": size[0], "height": size[1]}, "colorScheme": scheme,
                   "reducedMotion": "reduce", **options}
        return Page(self, self.ask(None, "open", options, int(10000 * PATIENCE)))


class Page:
    def __init__(self, browser, number):
        self.browser, self.number = browser, number

    def call(self, name, *arguments):
        """Any method of the bridge or of a page of Playwright."""
        return self.browser.ask(self.number, name, *arguments)

    def go(self, url):
        """Opens it, and gives the status."""
        return self.call("go", url)

    def tab(self):
        """Another page with the same cookies."""
        return Page(self.browser, self.call("tab"))

    def click(self, selector):
        self.call("click", selector)

    def fill(self, selector, text):
        self.call("fill", selector, text)

    def select(self, selector, value):
        self.call("select", selector, value)

    def press(self, keys):
        self.call("press", keys)

    def see(self, selector, state="visible"):
        """Waits until something that fits is there (or "hidden": until nothing is)."""
        self.call("wait", selector, {"state": state})

    def text(self, selector="body"):
        """The visible text of the first that fits."""
        return self.call("innerText", selector)

    def texts(self, selector):
        return self.call("texts", selector)

    def count(self, selector):
        return self.call("count", selector)

    def evaluate(self, expression):
        return self.call("evaluate", expression)

    def problems(self):
        """What went wrong in the page since it was asked last."""
        return self.call("problems")

    def axe(self):
        """What axe-core finds: empty, or each rule with the elements that break it."""
        return ["{id}: {help}\n  {where}".format(where="\n  ".join(one["nodes"]), **one) for one in self.call("axe")]

    def shot(self, name, full=True):
        """A picture of the page in the folder SIPEAT_SCREENSHOTS, when that is set."""
        folder = os.environ.get("SIPEAT_SCREENSHOTS")
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            self.call("shot", str(pathlib.Path(folder) / f"{name}.png"), full)

    def look(self, name, sizes=(PHONE, DESK), schemes=SCHEMES):
        """Looks at the page in each size and scheme: a picture, and a list of what axe and the width object to."""
        found = []
        for width, height in sizes:
            self.call("resize", width, height)
            for scheme in schemes:
                self.call("scheme", scheme)
                self.shot(f"{name}-{width}-{scheme}")
                found += [f"{name} at {width} px, {scheme}: {one}" for one in self.axe()]
            if self.call("wide"):
                found.append(f"{name} at {width} px: it can be moved sideways")
        return found

    def close(self):
        with contextlib.suppress(AssertionError):
            self.call("close")
