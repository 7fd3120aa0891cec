"""What watches sipeat while it works: a collector of traces that only counts, and a reader of /metrics."""

import contextlib
import http.server
import threading
import urllib.request

from support.kafka import free_ports


class Collector:
    """Takes everything that is posted and counts its spans."""

    def __init__(self):
        collector = self
        self.spans = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                collector.spans += self.rfile.read(int(self.headers["Content-Length"])).count(b'"spanId"')
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://%s:%d" % self.server.server_address
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Scraper:
    """Reads /metrics at that port once a second, as long as it is open."""

    def __init__(self, port):
        self.url, self.done = f"http://127.0.0.1:{port}/metrics", threading.Event()
        self.thread = threading.Thread(target=self.scrape, daemon=True)

    def scrape(self):
        while not self.done.wait(1):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url, timeout=10).read()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def nothing():
    """(flags, variables, what runs beside it)"""
    return ("--log-level", "error"), (("SIPEAT_METRICS", "off"),), contextlib.nullcontext()


def everything(collector):
    port, = free_ports(1)
    flags = ("--http", f"127.0.0.1:{port}", "--log-level", "info", "--log-format", "json", "--trace-ratio", "0.01")
    return flags, (("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url),), Scraper(port)
