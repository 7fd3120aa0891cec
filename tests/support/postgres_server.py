#!/usr/bin/env python3
"""A PostgreSQL for a test in Lua, which says by HTTP when it is to crash, to come back, to freeze and to go on.

Prints the URL of its socket, its port on 127.0.0.1, its certificate and the address of this control; ends with its
standard input.
"""
import os
import pathlib
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from support.postgres import Postgres  # noqa: E402 - a program of its own finds it there


def send(server, sig):
    for pid in (server.process.pid, *server.children()):  # each connection has a process of its own
        os.kill(pid, sig)


def control(server):
    actions = {
        "/crash": server.crash, "/start": server.start,
        "/freeze": lambda: send(server, signal.SIGSTOP), "/thaw": lambda: send(server, signal.SIGCONT),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            actions[self.path]()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    return HTTPServer(("127.0.0.1", 0), Handler)


def leave(*_):
    raise SystemExit


def main():
    signal.signal(signal.SIGTERM, leave)
    with Postgres(tcp=True, max_connections=20) as server:
        http = control(server)
        threading.Thread(target=http.serve_forever, daemon=True).start()
        print(server.place, server.port, server.certificate, f"http://127.0.0.1:{http.server_port}", flush=True)
        try:
            sys.stdin.read()
        finally:
            if server.process.poll() is None:
                send(server, signal.SIGCONT)  # what stands still does not end


if __name__ == "__main__":
    main()
