/* raw_test.c - the party of a script on simulated time: presets, questions, ready answers. */
#include "serial/raw.h"
#include "support/test.h"

struct fake {
  struct sip_line line;
  struct sip_party *party;
  bool up;
  char sent[256];  /* a text of what it sent, with | behind each */
  char told[1024]; /* and of what it told */
};

static int fake_send(struct sip_line *line, const void *bytes, size_t size)
{
  struct fake *fake = (struct fake *)line;

  if (!fake->up) {
    return UV_ENOTCONN;
  }
  (void)snprintf(fake->sent + strlen(fake->sent), sizeof fake->sent - strlen(fake->sent), "%.*s|",
                 (int)size, (const char *)bytes);
  return 0;
}

static void fake_tell(struct sip_line *line, const struct sip_note *note)
{
  struct fake *fake = (struct fake *)line;
  const struct sip_value *text = sip_note_find(note, "bytes");
  size_t used = strlen(fake->told);

  text = text == NULL ? sip_note_find(note, "reason") : text;
  (void)snprintf(fake->told + used, sizeof fake->told - used, "%s%lld:%.*s%lld|", note->name,
                 (long long)note->ticket, text == NULL ? 0 : (int)text->size,
                 text == NULL ? "" : text->text,
                 (long long)sip_note_number(note, "dropped", sip_note_number(note, "ok", 0)));
}

/* What was told since the last look. */
#define CHECK_TOLD(fake, expected)                                                                 \
  do {                                                                                             \
    CHECK_STR((fake)->told, expected);                                                             \
    (fake)->told[0] = '\0';                                                                        \
  } while (0)

#define CHECK_SENT(fake, expected)                                                                 \
  do {                                                                                             \
    CHECK_STR((fake)->sent, expected);                                                             \
    (fake)->sent[0] = '\0';                                                                        \
  } while (0)

static void begin(struct fake *fake, const struct sip_note *settings)
{
  struct sip_err err = { 0 };

  memset(fake, 0, sizeof *fake);
  fake->line = (struct sip_line){ fake_send, fake_tell };
  fake->party = sip_protocol_raw.engine(settings, &fake->line, &err);
  if (fake->party == NULL) {
    SIP_TEST_FAIL("%s", err.message);
  }
  fake->up = true;
  fake->party->ops->on_link(fake->party, 0, true);
}

static void feed(struct fake *fake, int64_t now_us, const char *bytes, size_t size)
{
  fake->party->ops->on_bytes(fake->party, now_us, (const uint8_t *)bytes, size);
}

static void end(struct fake *fake)
{
  fake->party->ops->free(fake->party);
}

static int64_t due(const struct fake *fake)
{
  return fake->party->ops->due_us(fake->party);
}

static int command(struct fake *fake, const struct sip_note *note)
{
  struct sip_err err = { 0 };

  return fake->party->ops->command(fake->party, 0, note, &err);
}

static int ask(struct fake *fake, uint64_t ticket, const char *bytes, int64_t timeout_ms)
{
  struct sip_note note = { .name = "ask", .ticket = ticket };

  (void)sip_note_text(&note, "bytes", bytes);
  (void)sip_note_int(&note, "timeout_ms", timeout_ms);
  return command(fake, &note);
}

static int answer(struct fake *fake, const char *to, const char *with)
{
  struct sip_note note = { .name = "answer", .ticket = 9 };

  (void)sip_note_text(&note, "to", to);
  if (with != NULL) {
    (void)sip_note_text(&note, "with", with);
  }
  return command(fake, &note);
}

/* The same frames, however the bytes are split. */
static void check_frames(const struct sip_note *settings, const char *wire, size_t size,
                         const char *expected)
{
  for (size_t cut = 0; cut <= size; cut++) {
    struct fake fake;

    begin(&fake, settings);
    feed(&fake, 1000, wire, cut);
    if (cut < size) {
      feed(&fake, 2000, wire + cut, size - cut);
    }
    CHECK_TOLD(&fake, expected);
    end(&fake);
  }
}

static void presets_find_frames_however_they_are_split(void)
{
  struct sip_note line = { .name = "settings" }, mark = line, length = line, fixed = line;

  CHECK(sip_note_text(&line, "framing", "line"));
  check_frames(&line, "ab\r\ncd\n\n", 8, "frame0:ab0|frame0:cd0|frame0:0|");
  CHECK(sip_note_text(&mark, "framing", "delimiter") && sip_note_text(&mark, "delimiter", "<>"));
  check_frames(&mark, "a<b<>c<>", 8, "frame0:a<b0|frame0:c0|");
  CHECK(sip_note_text(&length, "framing", "length") && sip_note_int(&length, "at", 1) &&
        sip_note_int(&length, "width", 2) && sip_note_bool(&length, "little", true) &&
        sip_note_int(&length, "extra", 3) && sip_note_text(&length, "start", "X"));
  check_frames(&length, "X\2\0abX\0\0", 8, "frame0:X\0020|frame0:X0|"); /* as far as the first 0 */
  CHECK(sip_note_text(&fixed, "framing", "fixed") && sip_note_int(&fixed, "size", 2));
  check_frames(&fixed, "abcd", 4, "frame0:ab0|frame0:cd0|");
}

static void noise_costs_no_good_frame(void)
{
  struct sip_note settings = { .name = "settings" };
  struct fake fake;

  CHECK(sip_note_text(&settings, "framing", "length") && sip_note_int(&settings, "at", 1) &&
        sip_note_int(&settings, "extra", 2) && sip_note_text(&settings, "start", "A") &&
        sip_note_int(&settings, "max", 16) && sip_note_int(&settings, "gap_ms", 50));
  begin(&fake, &settings);
  feed(&fake, 0,
       "zzA\1xA\x7f"
       "A\1y",
       10); /* a length that is too large */
  CHECK_TOLD(&fake, "frame0:A\1x0|frame0:A\1y0|noise0:4|");
  feed(&fake, 0, "A\5A\1x", 5); /* it claims more than there is */
  CHECK_TOLD(&fake, "");
  CHECK_INT(due(&fake), 50000);
  fake.party->ops->on_due(fake.party, 49999);
  CHECK_TOLD(&fake, "");
  fake.party->ops->on_due(fake.party, 50000);
  while (due(&fake) <= 50000) {
    fake.party->ops->on_due(fake.party, 50000);
  }
  CHECK_TOLD(&fake, "frame0:A\1x0|noise0:2|");
  CHECK(due(&fake) == SIP_NEVER_US);
  feed(&fake, 0, "A\5x", 3);
  fake.party->ops->on_link(fake.party, 0, false); /* half a frame does not wait for the next port */
  CHECK_TOLD(&fake, "noise0:3|");
  end(&fake);
}

static void a_wrong_check_is_noise(void)
{
  struct sip_note settings = { .name = "settings" }, line = settings;
  struct fake fake;

  CHECK(sip_note_text(&settings, "framing", "fixed") && sip_note_int(&settings, "size", 4) &&
        sip_note_text(&settings, "check", "crc16_modbus"));
  begin(&fake, &settings);
  /* 41 42 has the check B1 D1; one byte too many in front costs that byte alone. */
  feed(&fake, 0,
       "zAB\xb1\xd1"
       "AB\xb1\xd1"
       "AB\xb1\xd0",
       13);
  CHECK_TOLD(&fake, "frame0:AB0|frame0:AB0|noise0:2|");
  end(&fake);
  CHECK(sip_note_text(&line, "framing", "line") && sip_note_text(&line, "check", "xor8"));
  begin(&fake, &line);
  feed(&fake, 0, "aba\nab\3\n\n", 9);
  CHECK_TOLD(&fake, "frame0:ab0|noise0:5|"); /* the empty line has no check */
  end(&fake);
}

static void an_echo_is_taken_out(void)
{
  struct sip_note settings = { .name = "settings" }, write = { .name = "write", .ticket = 1 };
  struct fake fake;

  CHECK(sip_note_bool(&settings, "echo", true));
  begin(&fake, &settings);
  CHECK(sip_note_text(&write, "bytes", "hello"));
  CHECK_INT(command(&fake, &write), 0);
  CHECK_TOLD(&fake, "result1:1|");
  feed(&fake, 1000, "hel", 3);
  CHECK_TOLD(&fake, "");
  feed(&fake, 2000, "lo, world", 9);
  CHECK_TOLD(&fake, "data0:, world0|");
  CHECK(due(&fake) == SIP_NEVER_US);
  CHECK_INT(command(&fake, &write), 0); /* nothing comes back in time: then it is no echo */
  CHECK_INT(due(&fake), 66000);
  fake.party->ops->on_due(fake.party, 66000);
  fake.told[0] = '\0';
  feed(&fake, 70000, "hello", 5);
  CHECK_TOLD(&fake, "data0:hello0|");
  end(&fake);
}

static void a_line_that_is_too_long_is_noise_to_its_end(void)
{
  struct sip_note settings = { .name = "settings" };
  struct fake fake;
  char bytes[2000];

  CHECK(sip_note_text(&settings, "framing", "line") && sip_note_int(&settings, "max", 8));
  begin(&fake, &settings);
  memset(bytes, 'x', sizeof bytes);
  feed(&fake, 0, bytes, sizeof bytes);
  feed(&fake, 0, "end\nok\n12345678\n123456789\nok\n", 29);
  CHECK_HAS(fake.told, "|frame0:ok0|frame0:123456780|frame0:ok0|noise");
  CHECK(strstr(fake.told, "end") == NULL && strstr(fake.told, "123456789") == NULL);
  end(&fake);
}

static void silence_ends_a_frame(void)
{
  struct sip_note settings = { .name = "settings" };
  struct fake fake;

  CHECK(sip_note_text(&settings, "framing", "gap") && sip_note_int(&settings, "gap_ms", 10) &&
        sip_note_int(&settings, "max", 8));
  begin(&fake, &settings);
  feed(&fake, 0, "ab", 2);
  feed(&fake, 9000, "cd", 2);
  CHECK_INT(due(&fake), 19000);
  fake.party->ops->on_due(fake.party, 19000);
  CHECK_TOLD(&fake, "frame0:abcd0|");
  feed(&fake, 20000, "123456789", 9); /* too much: noise until it is silent */
  feed(&fake, 21000, "0", 1);
  fake.party->ops->on_due(fake.party, due(&fake));
  feed(&fake, 90000, "ok", 2);
  fake.party->ops->on_due(fake.party, due(&fake));
  CHECK_TOLD(&fake, "noise0:9|noise0:1|frame0:ok0|");
  end(&fake);
}

static void begin_lines(struct fake *fake)
{
  struct sip_note settings = { .name = "settings" };

  CHECK(sip_note_text(&settings, "framing", "line"));
  begin(fake, &settings);
}

static void questions_take_turns(void)
{
  struct fake fake;

  begin_lines(&fake);
  CHECK_INT(ask(&fake, 1, "a", 100), 0);
  CHECK_INT(ask(&fake, 2, "b", 100), 0);
  CHECK_INT(ask(&fake, 3, "c", 100), 0);
  CHECK_SENT(&fake, "a|");
  CHECK_INT(due(&fake), 100000);
  feed(&fake, 50000, "A\n", 2);
  CHECK_TOLD(&fake, "result1:A1|");
  CHECK_SENT(&fake, "b|"); /* at once, with a time of its own */
  CHECK_INT(due(&fake), 150000);
  fake.party->ops->on_due(fake.party, 150000);
  CHECK_TOLD(&fake, "result2:timeout0|");
  CHECK_SENT(&fake, "c|");
  CHECK_INT(ask(&fake, 4, "d", 100), 0);
  fake.up = false;
  fake.party->ops->on_link(fake.party, 160000, false);
  CHECK_TOLD(&fake, "result3:link0|result4:link0|");
  CHECK_INT(ask(&fake, 5, "e", 100), 0);
  CHECK_TOLD(&fake, "result5:link0|");
  fake.up = true;
  fake.party->ops->on_link(fake.party, 170000, true);
  for (uint64_t i = 1; i <= 16; i++) {
    CHECK_INT(ask(&fake, i, "x", 100), 0);
  }
  CHECK_INT(ask(&fake, 17, "x", 100), SIP_EQUEUEFULL);
  CHECK_SENT(&fake, "x|");
  end(&fake); /* sixteen results are owed: the test of leaks sees them freed */
}

static void polls_are_answered_at_once(void)
{
  struct fake fake;

  begin_lines(&fake);
  CHECK_INT(answer(&fake, "poll", "ack"), 0);
  CHECK_INT(answer(&fake, "ping", "pong"), 0);
  CHECK_TOLD(&fake, "result9:1|result9:1|");
  feed(&fake, 0, "poll 7\nnews\nping\n", 17);
  CHECK_SENT(&fake, "ack|pong|");
  CHECK_TOLD(&fake, "frame0:news0|");
  CHECK_INT(answer(&fake, "poll", "ACK"), 0); /* another one, in its place */
  CHECK_INT(answer(&fake, "ping", NULL), 0);
  fake.told[0] = '\0';
  feed(&fake, 0, "poll\nping\n", 10);
  CHECK_SENT(&fake, "ACK|");
  CHECK_TOLD(&fake, "frame0:ping0|");
  fake.up = false; /* it cannot be sent: then it is news */
  feed(&fake, 0, "poll\n", 5);
  CHECK_TOLD(&fake, "frame0:poll0|");
  for (char c = 'a'; c < 'a' + 15; c++) {
    char to[2] = { c, '\0' };

    CHECK_INT(answer(&fake, to, "x"), 0);
  }
  CHECK_INT(answer(&fake, "more", "x"), SIP_EQUEUEFULL);
  end(&fake);
}

/* What is wrong is refused with its name. */
static void check_refused(const char *name, const char *text, int64_t number, const char *why)
{
  struct sip_note settings = { .name = "settings" };
  struct fake fake = { .line = { fake_send, fake_tell } };
  struct sip_err err = { 0 };

  CHECK(sip_note_text(&settings, "framing", strcmp(name, "framing") == 0 ? text : "length"));
  if (text != NULL && strcmp(name, "framing") != 0) {
    CHECK(sip_note_text(&settings, name, text));
  } else if (text == NULL) {
    CHECK(sip_note_int(&settings, name, number));
  }
  CHECK(sip_protocol_raw.engine(&settings, &fake.line, &err) == NULL);
  CHECK_INT(err.code, UV_EINVAL);
  CHECK_HAS(err.message, why);
}

static void wrong_settings_are_refused(void)
{
  struct fake fake;
  struct sip_note none = { .name = "settings" }, write = { .name = "write", .ticket = 1 };

  check_refused("framing", "lines", 0, "one of none, line");
  check_refused("framing", "delimiter", 0, "delimiter is missing");
  check_refused("framing", "fixed", 0, "size is 1 to 4096, not 0");
  check_refused("width", NULL, 3, "width is 1 to 2, not 3");
  check_refused("start", "123456789", 0, "start is 1 to 8 bytes");
  check_refused("check", "crc", 0, "crc16_modbus, crc16_arc");
  check_refused("gapms", NULL, 5, "did you mean gap_ms?");
  begin(&fake, &none);
  CHECK_INT(ask(&fake, 1, "x", 100), UV_EINVAL); /* without framing */
  CHECK_INT(command(&fake, &write), UV_EINVAL);
  CHECK(sip_note_text(&write, "bytes", "x"));
  fake.up = false;
  CHECK_INT(command(&fake, &write), UV_ENOTCONN);
  CHECK_TOLD(&fake, "");
  feed(&fake, 0, "as it comes", 11);
  CHECK_TOLD(&fake, "data0:as it comes0|");
  end(&fake);
}

int main(void)
{
  presets_find_frames_however_they_are_split();
  noise_costs_no_good_frame();
  a_wrong_check_is_noise();
  an_echo_is_taken_out();
  a_line_that_is_too_long_is_noise_to_its_end();
  silence_ends_a_frame();
  questions_take_turns();
  polls_are_answered_at_once();
  wrong_settings_are_refused();
  (void)printf("ok\n");
  return 0;
}
