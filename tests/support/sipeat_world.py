"""Everything that scripts/pipeline.lua talks to: real Kafka and mail, strict fakes of Discord, Stripe and Supabase."""

import contextlib

from support import kcat
from support.fake_discord import FakeDiscord
from support.fake_stripe import FakeStripe
from support.fake_supabase import FakeSupabase
from support.kafka import Kafka
from support.sipeat_events import GROUPS, TOPICS, batches
from support.smtpd import Smtpd

PARTITIONS = 3
ALL_TOPICS = [topic for pair in TOPICS.values() for topic in pair]


class World(contextlib.ExitStack):
    """`env` is what the pipeline needs; the parts are kafka, mail, discord, stripe and supabase."""

    def __init__(self, discord=None, stripe=None):
        super().__init__()
        self.discord_options, self.stripe_options = discord or {}, stripe or {}

    def __enter__(self):
        super().__enter__()
        self.kafka = self.enter_context(Kafka())
        self.wire = self.kafka.wire
        self.mail = self.enter_context(Smtpd())
        self.discord = self.enter_context(FakeDiscord(**self.discord_options))
        self.stripe = self.enter_context(FakeStripe(**self.stripe_options))
        self.supabase = self.enter_context(FakeSupabase())
        for topic in [*ALL_TOPICS, "notification"]:
            self.wire.create_topic(topic, PARTITIONS)
            self.wire.create_topic(topic + "-dlt", 1)
        self.env = {
            "KAFKA_BROKERS": self.kafka.address, "DISCORD_WEBHOOK": self.discord.url, "DISCORD_QUEUE": 100000,
            "SMTP_URL": self.mail.url, "MAIL_FROM": "SipEat <no-reply@sipeat.test>",
            "SALES_EMAIL": "sales@sipeat.test", "SUPPORT_EMAIL": "support@sipeat.test",
            "STRIPE_API_URL": self.stripe.url, "STRIPE_SECRET_KEY": "sk_test_e2e", "SIPEAT_SIM_DISPENSE_TIME": "5ms",
            "NEXT_PUBLIC_SUPABASE_URL": self.supabase.url, "NEXT_PUBLIC_SUPABASE_ANON_KEY": self.supabase.key,
        }
        return self

    def write(self, events):
        """Puts the events into their topics with kcat."""
        for topic, headers, records in batches(events):
            kcat.write(self.kafka.address, topic, records, headers)

    def lag(self, kind):
        return sum(self.wire.lag(GROUPS[kind], topic) for topic in TOPICS[kind])

    def dead(self, kind):
        """The dead letters of a kind of event."""
        return [record for topic in TOPICS[kind] for record in kcat.read(self.kafka.address, topic + "-dlt")]

    def dead_count(self, kind):
        return sum(self.wire.count(topic + "-dlt") for topic in TOPICS[kind])
