"""Signing in as people and programs do: `sipeat user`, `sipeat token` and `sipeat audit` on the file of a running
process, the sign-in page, the link of `sipeat dev`, and the role of a proxy's user."""

import http.client
import json
import os
import pty
import re
import stat
import urllib.parse

from support import harness
from support.harness import wait_for

OK, FAILED, USAGE = 0, 1, 2
PASSWORD = "correct horse battery"
SCRIPT = """
local access = require "sipeat.access"
local http = require "sipeat.http"
http.route("GET /who", access.guard("viewer", function(req)
  return { json = { name = req.user.name, role = req.user.role, via = req.user.via, csrf = req.user.csrf } }
end))
http.route("POST /change", access.guard("operator", function(req)
  assert(access.audit(req, "thing.change", { id = 1 }))
  return { status = 204 }
end))
"""


class Access(harness.Case):
    def begin(self, verb="run", **env):
        self.env = env
        self.process = self.start(verb, self.script(SCRIPT), "--no-watch", env=env)
        line = self.process.wait_log("listening on ")
        self.process.wait_log(": version ")
        self.address = re.search(r"http://([0-9.]+:\d+)", line)[1]
        return self.process

    def ask(self, method, path, form=None, **headers):
        """Status, headers (a list of pairs) and body; redirections are not followed."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        body = urllib.parse.urlencode(form) if form is not None else None
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    def sign_in(self, name, password, **headers):
        _, page, text = self.ask("GET", "/console/sign-in", **headers)
        cookie = page["set-cookie"].split(";")[0]
        form = {"csrf": re.search(r'name="csrf" value="([^"]+)"', text)[1], "name": name, "password": password}
        return self.ask("POST", "/console/sign-in", form, Cookie=cookie, **headers)

    def verb(self, *arguments, code=OK):
        done = self.run_sipeat(*arguments, env=getattr(self, "env", {}))
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.log}\n{done.output}")
        return done

    def add(self, name, role):
        path = self.dir / "password"
        path.write_text(PASSWORD + "\n")
        return self.verb("user", "add", name, "--role", role, "--password-file", path)


class People(Access):
    def test_a_user_is_added_signs_in_and_is_removed_while_the_process_runs(self):
        self.begin()
        self.add("ada", "operator")
        status, headers, _ = self.sign_in("ada", PASSWORD)
        self.assertEqual(status, 303)
        cookie = headers["set-cookie"].split(";")[0]
        _, _, text = self.ask("GET", "/who", Cookie=cookie)
        who = json.loads(text)
        self.assertEqual((who["name"], who["role"], who["via"]), ("ada", "operator", "session"))
        self.assertEqual(self.ask("POST", "/change", Cookie=cookie)[0], 403)
        self.assertEqual(self.ask("POST", "/change", Cookie=cookie, X_CSRF_Token=who["csrf"])[0], 204)
        self.verb("user", "role", "ada", "--role", "viewer")
        self.assertEqual(self.ask("GET", "/who", Cookie=cookie)[0], 401, "the sessions ended with the role")
        _, headers, _ = self.sign_in("ada", PASSWORD)
        cookie = headers["set-cookie"].split(";")[0]
        self.verb("user", "remove", "ada")
        self.assertEqual(self.ask("GET", "/who", Cookie=cookie)[0], 401)
        self.assertEqual(self.sign_in("ada", PASSWORD)[0], 401)
        rows = [json.loads(line) for line in self.verb("audit", "--json").out]
        self.assertEqual([row["what"] for row in rows], [
            "user.remove", "session.begin", "user.change", "thing.change", "session.begin", "user.add"])
        self.assertEqual((rows[3]["who"], rows[3]["via"], rows[3]["fields"]), ("ada", "session", {"id": 1}))
        self.assertEqual(rows[0]["via"], "command line")

    def test_nothing_in_the_files_signs_in_and_nobody_else_may_read_them(self):
        self.begin()
        self.add("ada", "admin")
        token = self.verb("token", "add", "ci").output
        _, headers, _ = self.sign_in("ada", PASSWORD)
        session = headers["set-cookie"].split(";")[0].split("=")[1]
        kept = b""
        for path in (self.dir / ".sipeat").glob("access.db*"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
            kept += path.read_bytes()
        self.assertIn(b"$argon2id$v=19$m=65536,t=3,p=1$", kept)
        for secret in (PASSWORD, token, token.split("_")[2], session):
            self.assertNotIn(secret.encode(), kept)

    def test_a_password_is_typed_unseen_or_read_from_a_file_and_never_an_argument(self):
        self.begin()
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execve(harness.BINARY, ["sipeat", "user", "add", "eve"], harness.environment(self.dir))
        seen = b""
        for question in (b"Password of eve: ", b"The same again: "):
            while question not in seen:
                seen += os.read(terminal, 1000)
            os.write(terminal, PASSWORD.encode() + b"\n")
        try:
            while chunk := os.read(terminal, 1000):
                seen += chunk
        except OSError:  # the other end is closed
            pass
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), OK, seen)
        os.close(terminal)
        self.assertNotIn(PASSWORD.encode(), seen)
        self.assertEqual(self.sign_in("eve", PASSWORD)[0], 303)
        self.assertIn("--password-file", self.verb("user", "add", "bob", code=USAGE).log)
        self.assertIn("unexpected argument", self.verb("user", "add", "bob", PASSWORD, code=USAGE).log)

    def test_what_is_wrong_is_said(self):
        (self.dir / "short").write_text("short\n")
        done = self.verb("user", "add", "ada", "--password-file", "short", code=USAGE)
        self.assertIn("shorter than 10 characters", done.log)
        self.assertIn("did you mean operator?", self.verb("token", "add", "x", "--role", "operater", code=USAGE).log)
        self.assertIn("there is no user bob", self.verb("user", "remove", "bob", code=FAILED).log)
        self.assertIn("there are no users", self.verb("user", "list").log)
        self.assertIn("state off", self.verb("user", "list", "--state", "off", code=USAGE).log)
        for verb in (["run", self.script(SCRIPT)], ["console", "--http", "127.0.0.1:0", "-b", "127.0.0.1:1"]):
            done = self.run_sipeat(*verb, env={"SIPEAT_SESSION_IDLE": "2x"})
            self.assertNotEqual(done.returncode, OK)
            self.assertIn('SIPEAT_SESSION_IDLE: "2x" is no duration', done.log.replace("\\", ""))


class Programs(Access):
    def test_a_token_counts_until_it_ends_or_is_removed(self):
        self.begin()
        token = self.verb("token", "add", "ci", "--role", "operator", "--expires", "1h").output
        short = self.verb("token", "add", "old", "--role", "admin", "--expires", "1ms").output
        bearer = {"Authorization": "Bearer " + token}
        self.assertEqual(json.loads(self.ask("GET", "/who", **bearer)[2]),
                         {"name": "ci", "role": "operator", "via": "token"})
        self.assertEqual(self.ask("POST", "/change", **bearer)[0], 204, "a program needs no token of a page")
        self.assertEqual(self.ask("GET", "/who", Authorization="Bearer " + short)[0], 401)
        self.assertEqual(self.ask("GET", "/who", Authorization="Bearer " + token[:-1])[0], 401)
        listed = self.verb("token", "list").output
        self.assertIn("expired", listed)
        self.assertNotIn(token.split("_")[2], listed)
        self.verb("token", "remove", "ci")
        self.assertEqual(self.ask("GET", "/who", **bearer)[0], 401)

    def test_the_programs_of_this_machine_reload_as_before(self):
        self.begin()
        self.assertEqual(self.ask("POST", "/admin/reload")[0], 200)
        self.assertEqual(self.ask("POST", "/admin/reload", Origin="http://elsewhere")[0], 403)
        self.assertEqual(self.ask("POST", "/admin/reload", X_Forwarded_For="203.0.113.9")[0], 403,
                         "a proxy on this machine asks for somebody else, also one that is not declared")


class Proxy(Access):
    SETTINGS = {"SIPEAT_PROXY_USER": "X-Auth-User", "SIPEAT_PROXY_ROLES": "ops=operator,staff=viewer"}
    HEADERS = {"X_Auth_User": "ada@example.org", "X_Forwarded_Groups": "staff,ops"}

    def test_the_user_of_a_declared_proxy_has_the_role_of_the_groups(self):
        self.begin(SIPEAT_PROXY="127.0.0.1", **self.SETTINGS)
        who = json.loads(self.ask("GET", "/who", **self.HEADERS)[2])
        self.assertEqual((who["name"], who["role"], who["via"]), ("ada@example.org", "operator", "proxy"))
        self.assertEqual(self.ask("POST", "/change", **self.HEADERS)[0], 403, "a page of another site could send it")
        self.assertEqual(self.ask("POST", "/change", X_CSRF_Token=who["csrf"], **self.HEADERS)[0], 204)
        self.assertEqual(self.ask("GET", "/who", X_Auth_User="bob", X_Forwarded_Groups="others")[0], 401)

    def test_from_anywhere_else_the_header_is_nothing(self):
        self.begin(SIPEAT_PROXY="192.0.2.0/24", **self.SETTINGS)
        self.assertEqual(self.ask("GET", "/who", **self.HEADERS)[0], 401)

    def test_cookies_are_secure_where_the_proxy_speaks_tls(self):
        self.begin(SIPEAT_PROXY="127.0.0.1")
        self.add("ada", "viewer")
        _, headers, _ = self.sign_in("ada", PASSWORD, X_Forwarded_Proto="https")
        cookie = headers["set-cookie"]
        self.assertRegex(cookie, "^__Host-sipeat_session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Lax; Secure$")


class Dev(Access):
    def test_the_link_of_dev_signs_in_once(self):
        process = self.begin("dev")
        link = wait_for(lambda: re.search(r"http://\S+(/console/sign-in\?code=\w+)", process.output), "a link")[1]
        status, headers, _ = self.ask("GET", link)
        self.assertEqual((status, headers["location"]), (303, "/console"))
        cookie = headers["set-cookie"].split(";")[0]
        self.assertEqual(json.loads(self.ask("GET", "/who", Cookie=cookie)[2])["via"], "dev")
        self.assertEqual(self.ask("GET", link)[0], 403)
        again = re.search(r"(/console/sign-in\?code=\w+)", process.wait_log("the next link to the console"))[1]
        self.assertEqual(self.ask("GET", again)[0], 303)


if __name__ == "__main__":
    harness.main()
