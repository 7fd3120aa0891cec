"""A real Kafka with everything that keeps strangers out: TLS, SASL, client certificates, ACLs.

`kafka.address` stays without encryption and may everything: the test's own way in. The other listeners, all
`localhost:port` with certificates of `kafka.authority`:

    secure    SASL_SSL: PLAIN, SCRAM-SHA-512, OAUTHBEARER (tokens signed by support.oauth)
    mutual    SSL, and the client shows a certificate
    expired   SASL_SSL, whose certificate has ended
    stranger  SASL_SSL, whose certificate is another host's

Users are "ada" (PLAIN), "grace" (SCRAM-SHA-512) and whoever a certificate names; what they may is what allow() says.
"""

import struct

from support.certificates import Authority
from support.kafka import Kafka, free_ports
from support.kafka_wire import array, string

CREATE_ACLS = 30
RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional_id": 5}
OPERATIONS = {"all": 2, "read": 3, "write": 4, "create": 5, "delete": 6, "alter": 7, "describe": 8,
              "describe_configs": 10, "idempotent_write": 12}
PASSWORDS = {"ada": "plain-Zx81-geheim", "grace": "scram-Qw42-geheim"}
MODULES = "org.apache.kafka.common.security"


class SecureKafka(Kafka):
    def __init__(self, config=None, jwks=None):
        super().__init__(config)
        self.jwks = jwks  # a file with the key that tokens are signed with
        if jwks:
            self.jvm = [*self.jvm, f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{jwks}"]

    def listeners(self):
        self.authority = Authority(self.directory / "certificates")
        ports = dict(zip(("secure", "mutual", "expired", "stranger"), free_ports(4)))
        self.at = {name: f"localhost:{port}" for name, port in ports.items()}
        return {name.upper(): ("SSL" if name == "mutual" else "SASL_SSL", self.at[name]) for name in ports}

    def security(self):
        stores = {"secure": self.store("broker", ["localhost"]), "mutual": self.store("broker", ["localhost"]),
                  "expired": self.store("broker-expired", ["localhost"], expired=True),
                  "stranger": self.store("broker-stranger", ["kafka.example.org"])}
        settings = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS", "allow.everyone.if.no.acl.found": "false",
            "ssl.principal.mapping.rules": "RULE:^CN=(.*?)$/$1/,DEFAULT",
            "ssl.truststore.type": "PEM", "ssl.truststore.location": self.authority.ca,
            "listener.name.mutual.ssl.client.auth": "required",
        }
        for name, store in stores.items():
            at = f"listener.name.{name}"
            settings.update({f"{at}.ssl.keystore.type": "PEM", f"{at}.ssl.keystore.location": store})
            if name != "mutual":
                settings.update(self.mechanisms(at))
        return settings

    def mechanisms(self, at):
        enabled = ["PLAIN", "SCRAM-SHA-512"] + (["OAUTHBEARER"] if self.jwks else [])
        settings = {
            f"{at}.sasl.enabled.mechanisms": ",".join(enabled),
            f"{at}.plain.sasl.jaas.config":
                f'{MODULES}.plain.PlainLoginModule required user_ada="{PASSWORDS["ada"]}";',
            f"{at}.scram-sha-512.sasl.jaas.config": f"{MODULES}.scram.ScramLoginModule required;",
        }
        if self.jwks:
            settings.update({
                f"{at}.oauthbearer.sasl.jaas.config": f"{MODULES}.oauthbearer.OAuthBearerLoginModule required;",
                f"{at}.oauthbearer.sasl.server.callback.handler.class":
                    f"{MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler",
                f"{at}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": f"file://{self.jwks}",
                f"{at}.oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
            })
        return settings

    def format_options(self):
        return ["--add-scram", f"SCRAM-SHA-512=[name=grace,iterations=4096,password={PASSWORDS['grace']}]"]

    def store(self, name, hosts, expired=False):
        """A broker's key and certificates in one file."""
        path = self.directory / f"{name}-store.pem"
        if not path.exists():
            cert, key = self.authority.issue(name, hosts, expired)
            path.write_text(key.read_text() + cert.read_text() + self.authority.ca.read_text())
        return path

    def environment(self, user="ada", at="secure", **others):
        """The variables with which that user reaches that listener; others replace them, None takes one away."""
        variables = {"KAFKA_BROKERS": self.at[at], "KAFKA_USERNAME": user, "KAFKA_PASSWORD": PASSWORDS.get(user),
                     "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512" if user == "grace" else "PLAIN",
                     "KAFKA_SSL_CA": self.authority.ca}
        variables.update(others)
        return {name: value for name, value in variables.items() if value is not None}

    def allow(self, user, resource, name, *operations, prefixed=False):
        """allow("ada", "topic", "orders", "read", "describe")"""
        entries = [struct.pack(">b", RESOURCES[resource]) + string(name) + struct.pack(">b", 4 if prefixed else 3)
                   + string(f"User:{user}") + string("*") + struct.pack(">bb", OPERATIONS[operation], 3)
                   for operation in operations]
        r = self.wire.ask(CREATE_ACLS, 1, array(entries))
        r.take("i")
        for code, message in r.array(lambda: (r.take("h"), r.string())):
            if code:
                raise RuntimeError(f"allow {user} {resource} {name}: {message} ({code})")
