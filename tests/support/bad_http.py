"""An HTTP server that answers as its path says, well or badly. Prints its port; ends with its standard input.

/status/CODE  /echo (JSON of the request)  /bytes/N  /slow/N (a piece each 10 ms)  /hang  /hang-head  /hang-body
/close  /close-head  /close-body  /garbage  /bad-chunk  /endless-head  /big-head/N  /slow-head  /gzip  /bomb
/bad-gzip  /redirect/N  /redirect-to-file  /cookies  /early-hints  /trailers  /count (connections so far)
/closed (how often /close was asked for)
With the argument "tls" it speaks TLS with a certificate that nobody signed; its line is then "PORT CERTFILE".
"""

import gzip
import json
import socket
import socketserver
import ssl
import sys
import tempfile
import threading
import time

from http_certificate import self_signed

BOMB = gzip.compress(b"\0" * (32 << 20), 1)  # once: it costs more than a client waits

connections = closed = 0


class Handler(socketserver.BaseRequestHandler):
    def read_head(self):
        data = self.rest
        while b"\r\n\r\n" not in data:
            more = self.request.recv(65536)
            if not more:
                return None
            data += more
        head, self.rest = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ", 2)
        self.headers = [tuple(line.split(": ", 1)) if ": " in line else (line.rstrip(":"), "") for line in lines[1:]]
        fields = {name.lower(): value for name, value in self.headers}
        length = int(fields.get("content-length", 0))
        while len(self.rest) < length:
            self.rest += self.request.recv(65536)
        self.body, self.rest = self.rest[:length], self.rest[length:]
        return True

    def send(self, text):
        self.request.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def answer(self, body, status="200 OK", headers=""):
        body = body if isinstance(body, bytes) else body.encode()
        self.send(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n")
        if self.method != "HEAD":
            self.send(body)

    def setup(self):
        global connections
        connections += 1
        self.rest = b""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle(self):
        try:
            if isinstance(self.request, ssl.SSLSocket):
                self.request.do_handshake()
            while self.read_head():
                name, _, argument = self.path.split("?")[0].lstrip("/").partition("/")
                if getattr(self, "do_" + name.replace("-", "_"))(argument) == "close":
                    return
        except (OSError, ssl.SSLError):
            pass

    def do_status(self, code):
        body = "" if code in ("204", "304") else json.dumps({"status": int(code)})
        self.answer(body, f"{code} Because", "retry-after: 2\r\n")

    def do_echo(self, _):
        fields = {"method": self.method, "path": self.path, "headers": self.headers}
        self.answer(json.dumps({**fields, "body": self.body.decode("latin-1")}), headers="X-Mixed-Case:  spaced \r\n")

    def do_count(self, _):
        self.answer(str(connections))

    def do_bytes(self, count):
        self.send(f"HTTP/1.1 200 OK\r\ncontent-length: {count}\r\n\r\n")
        left = int(count)
        while left > 0:
            piece = min(left, 65536)
            self.send(b"x" * piece)
            left -= piece

    def do_slow(self, count):
        self.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for i in range(int(count)):
            self.send(f"6\r\npart {i % 10}\r\n")
            time.sleep(0.01)
        self.send("0\r\n\r\n")

    def do_hang(self, _):
        time.sleep(60)

    def do_hang_head(self, _):
        self.send("HTTP/1.1 200 OK\r\nx-started: yes\r\n")
        time.sleep(60)

    def do_hang_body(self, _):
        self.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin")
        time.sleep(60)

    def do_slow_head(self, _):
        for c in "HTTP/1.1 200 OK\r\nx-slow: " + "y" * 2000:
            self.send(c)
            time.sleep(0.05)

    def do_close(self, _):
        global closed
        closed += 1
        return "close"

    def do_closed(self, _):
        self.answer(str(closed))

    def do_close_head(self, _):
        self.send("HTTP/1.1 200 OK\r\ncontent-len")
        return "close"

    def do_close_body(self, _):
        self.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin")
        return "close"

    def do_garbage(self, _):
        self.send(bytes(range(256)) * 4)
        return "close"

    def do_bad_chunk(self, _):
        self.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nwhat")
        return "close"

    def do_endless_head(self, _):
        self.send("HTTP/1.1 200 OK\r\n")
        while True:
            self.send("x-more: " + "z" * 1000 + "\r\n")

    def do_big_head(self, count):
        self.answer("small", headers="".join(f"x-{i}: {'v' * 90}\r\n" for i in range(int(count))))

    def do_gzip(self, _):
        self.answer(gzip.compress(b"unpacked " * 100), headers="content-encoding: gzip\r\n")

    def do_bomb(self, _):
        self.answer(BOMB, headers="content-encoding: gzip\r\n")

    def do_bad_gzip(self, _):
        self.answer("this is not gzip", headers="content-encoding: gzip\r\n")

    def do_redirect(self, count):
        if int(count) == 0:
            self.do_echo("")
        else:
            self.answer("moved", "302 Found", f"location: /redirect/{int(count) - 1}\r\n")

    def do_redirect_to_file(self, _):
        self.answer("moved", "302 Found", "location: file:///etc/passwd\r\n")

    def do_cookies(self, _):
        self.answer("ok", headers="Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nVary: x\r\nvary: y\r\n")

    def do_early_hints(self, _):
        self.send("HTTP/1.1 103 Early Hints\r\nlink: </early>\r\n\r\n")
        self.answer("late", headers="x-real: yes\r\n")

    def do_trailers(self, _):
        self.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: no\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        print("bad_http:", sys.exc_info()[1], file=sys.stderr)


def main():
    with tempfile.TemporaryDirectory(prefix="sipeat-http-") as directory:
        server = Server(("127.0.0.1", 0), Handler)
        line = str(server.server_address[1])
        if sys.argv[1:] == ["tls"]:
            cert, key = self_signed(directory)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            line += " " + cert
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(line, flush=True)
        sys.stdin.read()


main()
