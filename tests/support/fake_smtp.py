"""A strict little mail server. Prints its port ("PORT CERTFILE" with TLS); ends with its standard input.

Arguments: any of "starttls" (offered, with a certificate that nobody signed), "tls" (from the start), "auth" (ada /
secret is required). The recipient's local part says what happens:
  temp@ 451, full@ 552, unknown@ 550 at RCPT; reject-data@ 554 and defer-data@ 451 after the message; hang@ never
  answers the message; drop@ hangs up after it; grey@ 451 at RCPT the first time; lost@ takes the message and hangs up
  the first time; slow@ answers after half a second; hang-rcpt@ never answers RCPT.
The sender blocked@ gets 550, later@ 421. What was taken is answered by the command "STAT" as a line of JSON: a list of
{"from", "to", "data", "ehlo", "auth"}. Every violation (bare LF or CR, a line over 998 bytes, eight-bit bytes, commands
out of order, a malformed address) gets 500 and is remembered as {"violation": …}.
"""

import base64
import json
import re
import socketserver
import ssl
import sys
import tempfile
import threading
import time

from http_certificate import self_signed

ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+"
PATH = re.compile(r"^(MAIL FROM|RCPT TO):<(" + ADDRESS + r")>((?: [A-Z0-9]+(?:=\S+)?)*)$")
RCPT = {"temp": "451 4.3.0 try again later", "full": "552 5.2.2 mailbox full", "unknown": "550 5.1.1 no such user"}
taken = []
seen = set()  # recipients of grey@ and lost@ that are no longer new
offers = set(sys.argv[1:])
context = None


class Handler(socketserver.StreamRequestHandler):
    def reply(self, *lines):
        for i, line in enumerate(lines):
            text = line[:3] + ("-" if i + 1 < len(lines) else " ") + line[4:]
            self.wfile.write(text.encode() + b"\r\n")
        self.wfile.flush()

    def line(self):
        line = self.rfile.readline(2000)
        if not line:
            raise ConnectionError
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self.violation("a line that does not end in CRLF", line)
        if len(line) > 1000:
            self.violation("a line over 998 bytes", line[:50])
        return line[:-2]

    def violation(self, what, line):
        taken.append({"violation": what, "line": line.decode("latin-1")})
        self.reply("500 " + what)
        raise ConnectionError

    def secure(self):
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")

    def handle(self):
        self.hello = self.user = self.sender = None
        self.to = []
        self.is_secure = "tls" in offers
        try:
            if self.is_secure:
                self.secure()
            self.reply("220 fake.test ready")
            while self.command(self.line().decode("latin-1")):
                pass
        except (OSError, ssl.SSLError):
            pass

    def command(self, line):
        verb = line[:4].upper()
        if verb in ("EHLO", "HELO"):
            self.hello = line[5:]
            lines = ["250 fake.test", "250 8BITMIME", "250 SIZE 1000000"]
            if "starttls" in offers and not self.is_secure:
                lines.append("250 STARTTLS")
            if "auth" in offers and (self.is_secure or not offers & {"tls", "starttls"}):
                lines.append("250 AUTH PLAIN LOGIN")
            self.reply(*lines)
        elif verb == "STAT":
            self.wfile.write(json.dumps(taken).encode() + b"\n")
            self.wfile.flush()
        elif verb == "QUIT":
            self.reply("221 bye")
            return False
        elif verb == "RSET":
            self.sender, self.to = None, []
            self.reply("250 reset")
        elif not self.hello:
            self.violation("a command before EHLO", line.encode())
        elif line == "STARTTLS" and "starttls" in offers:
            self.reply("220 go ahead")
            self.secure()
            self.is_secure, self.hello = True, None
        elif verb == "AUTH":
            self.sign_in(line)
        elif "auth" in offers and not self.user:
            self.reply("530 5.7.0 sign in first")
        elif verb in ("MAIL", "RCPT"):
            self.envelope(line)
        elif line == "DATA":
            self.data()
        else:
            self.violation("an unknown command", line.encode())
        return True

    def sign_in(self, line):
        words = line.split(" ")
        if words[1] != "PLAIN":
            return self.reply("504 mechanism")
        if len(words) == 2:
            self.reply("334 ")
            words.append(self.line().decode())
        _, user, password = base64.b64decode(words[2]).split(b"\0")
        if (user, password) != (b"ada", b"sec ret%"):
            return self.reply("535 5.7.8 wrong user or password")
        self.user = user.decode()
        self.reply("235 welcome")

    def envelope(self, line):
        match = PATH.match(line)
        if not match:
            self.violation("a malformed path", line.encode("latin-1"))
        kind, address, _ = match.groups()
        local = address.split("@")[0]
        if kind == "MAIL FROM":
            self.sender, self.to = address, []
            answer = {"blocked": "550 5.7.1 you are blocked", "later": "421 4.3.2 come back later"}
            return self.reply(answer.get(local, "250 sender ok"))
        if local == "hang-rcpt":
            time.sleep(60)
        if local == "grey" and address not in seen:
            seen.add(address)
            return self.reply("451 4.7.1 greylisted, come back later")
        if local in RCPT:
            return self.reply(RCPT[local])
        self.to.append(address)
        self.reply("250 recipient ok")

    def data(self):
        if not self.sender or not self.to:
            return self.violation("DATA without sender and recipient", b"DATA")
        self.reply("354 go on")
        lines = []
        while True:
            line = self.line()
            if line == b".":
                break
            if any(c > 126 for c in line):
                self.violation("eight-bit bytes", line)
            lines.append(line[1:] if line.startswith(b".") else line)
        locals_ = {address.split("@")[0] for address in self.to}
        if "hang" in locals_:
            time.sleep(60)
        if "drop" in locals_:
            raise ConnectionError
        if "slow" in locals_:
            time.sleep(0.5)
        if "reject-data" in locals_:
            return self.reply("554 5.6.0 looks like spam")
        if "defer-data" in locals_:
            return self.reply("451 4.7.1 greylisted")
        data = b"\r\n".join(lines).decode() + "\r\n"
        taken.append({"from": self.sender, "to": self.to, "data": data, "ehlo": self.hello, "auth": self.user})
        new = {address for address in self.to if address.split("@")[0] == "lost"} - seen
        if new:
            seen.update(new)
            raise ConnectionError
        self.sender, self.to = None, []
        self.reply("250 2.0.0 queued as 1")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def main():
    global context
    with tempfile.TemporaryDirectory(prefix="sipeat-smtp-") as directory:
        server = Server(("127.0.0.1", 0), Handler)
        line = str(server.server_address[1])
        if offers & {"tls", "starttls"}:
            cert, key = self_signed(directory)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            line += " " + cert
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(line, flush=True)
        sys.stdin.read()


main()
