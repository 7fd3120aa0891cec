"""A token endpoint of OpenID Connect, as far as a program needs it: tokens signed with RS256 by openssl.

`jwks` is the file with the key that a broker checks them against.
"""

import base64
import http.server
import json
import subprocess
import threading
import time
import urllib.parse

CLIENT, SECRET = "shop", "oauth-Vb61-geheim"


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Endpoint(http.server.ThreadingHTTPServer):
    def __init__(self, directory):
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.jwks, self.asked, self.audience = directory / "oauth.pem", directory / "jwks.json", 0, "kafka"
        self.openssl("genrsa", "-out", self.key, "2048")
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().split("=")[1]
        number = encoded(bytes.fromhex(modulus))
        self.jwks.write_text(json.dumps({"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "e": "AQAB", "n": number}]}))
        self.url = f"http://127.0.0.1:{self.server_port}/token"
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.shutdown()
        self.server_close()

    @staticmethod
    def openssl(*arguments, data=None):
        return subprocess.run(["openssl", *map(str, arguments)], input=data, check=True, capture_output=True).stdout

    def token(self):
        now = int(time.time())
        claims = {"sub": CLIENT, "iss": "tests", "aud": self.audience, "iat": now, "exp": now + 60, "scope": "kafka"}
        text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k1"}, claims))
        return f"{text}.{encoded(self.openssl('dgst', '-sha256', '-sign', self.key, data=text.encode()))}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        wanted = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        self.server.asked += 1
        if self.headers["authorization"] != wanted or form.get("grant_type") != ["client_credentials"]:
            self.answer(401, {"error": "invalid_client"})
        else:
            self.answer(200, {"access_token": self.server.token(), "token_type": "Bearer", "expires_in": 60})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *unused):
        pass
