"""`sipeat discord test` against a strict Discord that accepts, refuses, limits, hangs and lies."""
import json

from support import harness
from support.fake_discord import FakeDiscord

NAMES = ["simple text", "rich embeds", "successful contact.created", "failed request.created",
         "successful machine.created"]
TOKEN = "a-very_Secret-token"


class DiscordTest(harness.Case):

    def discord_test(self, *options, deadline=60, **env):
        """(exit code, one result for each message, what was logged)."""
        process = self.run_sipeat("discord", "test", "--json", *options, env=env, deadline=deadline)
        self.assertNotIn(TOKEN, process.log + process.output)
        return process.returncode, [json.loads(line) for line in process.out if line.strip()], process.log

    def fake(self, **options):
        options.setdefault("limit", 1000)
        return self.enterContext(FakeDiscord(webhooks={"17": TOKEN, "18": TOKEN + "2"}, **options))

    def test_five_messages_arrive_as_the_seed_shows_them(self):
        fake = self.fake()
        code, results, log = self.discord_test(DISCORD_WEBHOOK=fake.url)
        self.assertEqual(code, 0, log)
        self.assertEqual([r["name"] for r in results], NAMES)
        self.assertTrue(all(r["ok"] and r["status"] == 200 and r["id"] for r in results), results)
        messages = fake.messages()
        self.assertEqual(len(messages), 5)
        self.assertTrue(messages[0]["content"] and not messages[0].get("embeds"))
        self.assertGreaterEqual(len(messages[1]["embeds"]), 2)
        titles = [m["embeds"][0]["title"] for m in messages[2:]]
        self.assertEqual(titles, ["📝 contact.created event processed", "🥤 request.created event failed",
                                  "🏭 machine.created event processed"])
        failed = {f["name"]: f["value"] for f in messages[3]["embeds"][0]["fields"]}
        self.assertEqual(failed["Error"], "Payment processing failed")
        self.assertEqual(failed["Customer Name"], "Jane Smith")
        self.assertTrue(all(m["allowed_mentions"] == {"parse": []} for m in messages))

    def test_the_address_may_stand_in_a_file(self):
        fake = self.fake()
        (self.dir / ".env.local").write_text(f"DISCORD_WEBHOOK={fake.url}\n")
        self.assertEqual(self.discord_test()[0], 0)
        self.assertEqual(len(fake.messages()), 5)

    def test_a_person_reads_lines(self):
        fake = self.fake()
        process = self.run_sipeat("discord", "test", env={"DISCORD_WEBHOOK": fake.url})
        self.assertEqual(process.returncode, 0, process.tail())
        for name in NAMES:
            self.assertIn(name, process.output)

    def test_rate_limits_are_obeyed(self):
        fake = self.fake(limit=2, window=1.0)
        self.assertEqual(self.discord_test(DISCORD_WEBHOOK=fake.url)[0], 0)
        stats = fake.stats()
        self.assertEqual((stats["accepted"], stats.get("over_limit", 0)), (5, 0))

    def test_429s_are_waited_for(self):
        fake = self.fake()
        fake.answer_next({"retry_after": 0.4}, {"retry_after": 0.3, "global": True}, "cloudflare", "not_json")
        self.assertEqual(self.discord_test(DISCORD_WEBHOOK=fake.url)[0], 0)
        stats = fake.stats()
        self.assertEqual((stats["accepted"], stats["status_429"], stats.get("early", 0)), (5, 4, 0))

    def test_errors_of_the_server_are_tried_again(self):
        fake = self.fake()
        fake.answer_next("error", "drop")
        self.assertEqual(self.discord_test(DISCORD_WEBHOOK=fake.url)[0], 0)
        self.assertEqual(fake.stats()["accepted"], 5)

    def test_one_refused_message_does_not_stop_the_others(self):
        fake = self.fake()
        fake.answer_next("bad_request")
        code, results, _ = self.discord_test(DISCORD_WEBHOOK=fake.url)
        self.assertEqual(code, 1)
        self.assertEqual([r["ok"] for r in results], [False, True, True, True, True])
        self.assertEqual((results[0]["status"], results[0]["code"]), (400, "REJECTED"))
        self.assertIn("Invalid Form Body", results[0]["message"])

    def test_a_webhook_that_is_gone_is_asked_once(self):
        for answer, status in (("unauthorized", 401), ("forbidden", 403), ("gone", 404)):
            with self.subTest(answer):
                fake = self.fake()
                fake.answer_always(answer)
                code, results, _ = self.discord_test(DISCORD_WEBHOOK=fake.url)
                self.assertEqual((code, results[0]["status"], results[0]["code"]), (1, status, "WEBHOOK_GONE"))
                self.assertEqual(len(results), 5)
                self.assertEqual(len(fake.received()), 1)

    def test_a_wrong_token_is_said(self):
        fake = self.fake()
        _, results, _ = self.discord_test(DISCORD_WEBHOOK=fake.url.replace(TOKEN, "wrong-token"))
        self.assertIn("Invalid Webhook Token", results[0]["message"])

    def test_it_ends_when_nobody_answers(self):
        fake = self.fake()
        fake.answer_always("hang")
        code, results, _ = self.discord_test("--timeout", "400ms", DISCORD_WEBHOOK=fake.url, deadline=20)
        self.assertEqual((code, [r["ok"] for r in results]), (1, [False] * 5))
        self.assertEqual(results[0]["code"], "ETIMEDOUT")

    def test_a_long_answer_is_harmless(self):
        fake = self.fake()
        fake.answer_always("huge")
        code, results, _ = self.discord_test(DISCORD_WEBHOOK=fake.url)
        self.assertEqual((code, len(fake.messages())), (0, 5), results)

    def test_a_redirect_is_not_followed(self):
        fake = self.fake()
        fake.answer_always("redirect")
        code, results, _ = self.discord_test(DISCORD_WEBHOOK=fake.url)
        self.assertEqual((code, results[0]["status"], len(fake.received())), (1, 302, 5))

    def test_what_is_wrong_with_an_address_is_said(self):
        cases = {
            "your-discord-webhook-url": "does not begin with https://",
            f"ftp://discord.com/api/webhooks/1/{TOKEN}": "neither https:// nor http://",
            "https://discord.com/api/webhooks/1": "lacks /webhooks/",
            f"https://discord.com/api/webhooks/one/{TOKEN}": "not a number",
            f"https://discord.com/api/webhooks/1/{TOKEN}/slack": "something follows",
        }
        for url, part in cases.items():
            with self.subTest(url):
                code, results, log = self.discord_test(DISCORD_WEBHOOK=url)
                self.assertEqual((code, results), (1, []))
                self.assertIn("DISCORD_WEBHOOK", log)
                self.assertIn(part, log)

    def test_without_an_address_it_says_what_to_set(self):
        code, results, log = self.discord_test()
        self.assertEqual((code, results), (1, []))
        self.assertIn("DISCORD_WEBHOOK is not set", log)

    def test_the_fallback_is_used_when_the_address_is_malformed(self):
        fake = self.fake()
        code, _, _ = self.discord_test(DISCORD_WEBHOOK="nonsense", DISCORD_WEBHOOK_FALLBACK=fake.url_of("18"))
        self.assertEqual((code, len(fake.messages())), (0, 5))


if __name__ == "__main__":
    harness.main()
