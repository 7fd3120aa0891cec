/* mime_test.c - messages as bytes: encoding, folding, and what is refused. */
#include "http/mime.h"

#include "support/test.h"

static struct sip_slice text(const char *s)
{
  return (struct sip_slice){ s, strlen(s) };
}

static struct sip_message simple(void)
{
  static struct sip_address to;
  struct sip_message message = { 0 };
  struct sip_slice from = text("SipEat <no-reply@sipeat.example>"), rcpt = text("ada@example.com");

  CHECK_INT(sip_address_parse(&message.from, &from, NULL), 0);
  CHECK_INT(sip_address_parse(&to, &rcpt, NULL), 0);
  message.to = &to;
  message.to_count = 1;
  message.subject = text("Hello");
  message.message_id = text("abc@sipeat.example");
  message.date_ms = 1700000000000;
  message.text = text("Hi.");
  return message;
}

static const char *render(const struct sip_message *message)
{
  static struct sip_buf out;
  struct sip_err err = { 0 };

  sip_buf_deinit(&out);
  if (sip_message_render(&out, message, &err) < 0) {
    SIP_TEST_FAIL("render: %s", err.message);
  }
  for (size_t i = 0, column = 0; i < out.len; i++, column++) {
    CHECK(out.data[i] != '\n' || (i > 0 && out.data[i - 1] == '\r'));
    CHECK((unsigned char)out.data[i] < 127);
    column = out.data[i] == '\n' ? 0 : column;
    CHECK(column < 998);
  }
  return out.data;
}

static void refuse(const struct sip_message *message, int code, const char *part)
{
  struct sip_buf out = SIP_BUF_INIT;
  struct sip_err err = { 0 };

  CHECK_INT(sip_message_render(&out, message, &err), code);
  CHECK_HAS(err.message, part);
  CHECK_INT(out.len, 0);
  sip_buf_deinit(&out);
}

static void a_plain_message_is_exactly_this(void)
{
  struct sip_message message = simple();

  CHECK_STR(render(&message), "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
                              "From: \"SipEat\" <no-reply@sipeat.example>\r\n"
                              "To: <ada@example.com>\r\n"
                              "Subject: Hello\r\n"
                              "Message-ID: <abc@sipeat.example>\r\n"
                              "MIME-Version: 1.0\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\n"
                              "Content-Transfer-Encoding: quoted-printable\r\n"
                              "\r\n"
                              "Hi.\r\n");
}

static void text_comes_before_html(void)
{
  struct sip_message message = simple();
  const char *out, *plain, *html;

  message.html = text("<p>Hi</p>");
  out = render(&message);
  plain = strstr(out, "text/plain");
  html = strstr(out, "text/html");
  CHECK_HAS(out,
            "Content-Type: multipart/alternative; boundary=\"=_sipeat_alternative\"\r\n\r\n--=_");
  CHECK(plain != NULL && html != NULL && plain < html);
  CHECK_HAS(out, "\r\n--=_sipeat_alternative--\r\n");
  message.text = (struct sip_slice){ NULL, 0 };
  out = render(&message);
  CHECK(strstr(out, "multipart") == NULL);
  CHECK_HAS(out, "Content-Type: text/html; charset=utf-8");
}

static void bodies_are_quoted_printable(void)
{
  static const struct {
    const char *text, *expected;
  } rows[] = {
    { "a=b", "\r\n\r\na=3Db\r\n" },
    { "caf\xc3\xa9 \xf0\x9f\xa5\xa4", "\r\n\r\ncaf=C3=A9 =F0=9F=A5=A4\r\n" },
    { "one\ntwo\r\nthree\rfour\n", "\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n" },
    { ".\n.dot\nFrom here\nFar", "\r\n\r\n=2E\r\n=2Edot\r\n=46rom here\r\nFar\r\n" },
    { "blank at end \nx", "\r\n\r\nblank at end=20\r\nx\r\n" },
    { "\n\n", "\r\n\r\n\r\n\r\n" },
    { "", "quoted-printable\r\n\r\n" },
    { "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234",
      "\r\n0123456789012345678901234567890123456789012345678901234567890123456789012=\r\n"
      "345678901234\r\n" },
  };
  struct sip_message message = simple();

  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    message.text = text(rows[i].text);
    CHECK_HAS(render(&message), rows[i].expected);
  }
}

static void headers_are_encoded_and_folded(void)
{
  struct sip_message message = simple();
  struct sip_header header = { text("X-Long"), { NULL, 0 } };
  char word[1200], words[600] = "";
  const char *out;

  message.subject = text("Gr\xc3\xbc\xc3\x9f"
                         "e");
  CHECK_HAS(render(&message), "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n");
  message.subject = text("looks =?like?= encoded");
  CHECK_HAS(render(&message), "Subject: =?UTF-8?B?bG9va3MgPT9saWtlPz0gZW5jb2RlZA==?=\r\n");
  message.subject = text("\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4"
                         "\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4"
                         "\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4\xf0\x9f\xa5\xa4");
  out = render(&message);
  CHECK_HAS(out, "?=\r\n =?UTF-8?B?8J+l"); /* cut between characters, never inside of one */
  for (int i = 0; i < 50; i++) {
    (void)strcat(words, i == 0 ? "word" : " word");
  }
  message.subject = text(words);
  CHECK_HAS(render(&message), "word\r\n word");
  memset(word, 'w', sizeof word - 1);
  word[sizeof word - 1] = '\0';
  header.value = text(word);
  message.headers = &header;
  message.header_count = 1;
  CHECK_HAS(render(&message), "X-Long: =?UTF-8?B?");
}

static void messages_that_cannot_be_are_refused(void)
{
  static const struct sip_header bad[] = {
    { { "Bcc", 3 }, { "x@y", 3 } },  { { "Content-Type", 12 }, { "text/evil", 9 } },
    { { "DATE", 4 }, { "now", 3 } }, { { "X-A", 3 }, { "a\r\nBcc: b", 9 } },
    { { "X A", 3 }, { "a", 1 } },    { { "X-A", 3 }, { "\xff", 1 } },
  };
  static const struct sip_slice subjects[] = {
    { "a\r\nBcc: x", 9 }, { "a\nb", 3 }, { "a\0b", 3 }, { "\xc3", 1 }
  };
  struct sip_message message = simple();

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    message.headers = &bad[i];
    message.header_count = 1;
    refuse(&message, UV_EINVAL, "header");
  }
  message = simple();
  for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
    message.subject = subjects[i];
    refuse(&message, UV_EINVAL, "the subject");
  }
  message = simple();
  message.text = (struct sip_slice){ "a\0b", 3 };
  refuse(&message, UV_EINVAL, "the text");
  message = simple();
  message.html = text("\xed\xa0\x80"); /* half a surrogate pair */
  refuse(&message, UV_EINVAL, "the html");
  message = simple();
  message.message_id = text("a b@c");
  refuse(&message, UV_EINVAL, "Message-ID");
  message = simple();
  message.text = (struct sip_slice){ NULL, 0 };
  refuse(&message, UV_EINVAL, "neither");
  message = simple();
  message.text.len = 26u * 1024 * 1024;
  message.text.data = calloc(1, message.text.len);
  CHECK(message.text.data != NULL);
  memset((char *)message.text.data, 'x', message.text.len);
  refuse(&message, SIP_ETOOBIG, "larger");
  free((char *)message.text.data);
}

static void addresses_are_taken_apart(void)
{
  static const struct {
    const char *text, *name, *email;
  } good[] = {
    { "ada@example.com", "", "ada@example.com" },
    { "  ada@example.com\t", "", "ada@example.com" },
    { "<ada@example.com>", "", "ada@example.com" },
    { "Ada Lovelace <ada+x@sub.example.com>", "Ada Lovelace", "ada+x@sub.example.com" },
    { "\"Lovelace, Ada\" <a.b@localhost>", "Lovelace, Ada", "a.b@localhost" },
    { "\xc3\x84"
      "da <o'neil@example.com>",
      "\xc3\x84"
      "da",
      "o'neil@example.com" },
  };
  struct sip_address address;
  struct sip_slice input;
  char name[100], email[100];

  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    input = text(good[i].text);
    CHECK_INT(sip_address_parse(&address, &input, NULL), 0);
    (void)snprintf(name, sizeof name, "%.*s", (int)address.name.len, address.name.data);
    (void)snprintf(email, sizeof email, "%.*s", (int)address.email.len, address.email.data);
    CHECK_STR(name, good[i].name);
    CHECK_STR(email, good[i].email);
  }
}

static void other_texts_are_no_addresses(void)
{
  static const char *const bad[] = {
    "",
    "ada",
    "@example.com",
    "ada@",
    "ada@@example.com",
    "a b@example.com",
    "a@b c",
    "a@b,c@d",
    "ada@.example.com",
    "ada@example..com",
    "ada.@example.com",
    ".ada@example.com",
    "a\r\n@b",
    "a@b\r\nRCPT",
    "<a@b> <c@d",
    "a@b>",
    "<a@b",
    "\xc3\xa4@example.com",
    "a@ex\xc3\xa4mple.com",
    "A\nB <a@b>",
    "\"a\"@b",
    "A <>",
    "a@b;c@d",
    "group: a@b;",
  };
  struct sip_address address;
  struct sip_slice input;
  struct sip_err err;

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    input = text(bad[i]);
    if (sip_address_parse(&address, &input, &err) == 0) {
      SIP_TEST_FAIL("\"%s\" passes for an address", bad[i]);
    }
    CHECK_STR(err.name, "INVALID_ADDRESS");
  }
  input = (struct sip_slice){ "a@b\0c", 5 };
  CHECK(sip_address_parse(&address, &input, &err) < 0);
}

static struct sip_attachment file(const char *name, const char *type, const char *data)
{
  return (struct sip_attachment){ text(name), text(type), text(data), text("") };
}

static void attachments_come_after_the_text(void)
{
  struct sip_message message = simple();
  struct sip_attachment files[2] = { file("bill.pdf", "application/pdf", "Hi!"),
                                     file("empty", "text/plain; charset=utf-8", "") };

  message.attachments = files;
  message.attachment_count = 2;
  CHECK_HAS(render(&message), "MIME-Version: 1.0\r\n"
                              "Content-Type: multipart/mixed; boundary=\"=_sipeat_mixed\"\r\n"
                              "\r\n"
                              "--=_sipeat_mixed\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\n"
                              "Content-Transfer-Encoding: quoted-printable\r\n"
                              "\r\n"
                              "Hi.\r\n"
                              "\r\n"
                              "--=_sipeat_mixed\r\n"
                              "Content-Type: application/pdf\r\n"
                              "Content-Transfer-Encoding: base64\r\n"
                              "Content-Disposition: attachment;\r\n"
                              " filename=\"bill.pdf\"\r\n"
                              "\r\n"
                              "SGkh\r\n"
                              "\r\n"
                              "--=_sipeat_mixed\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\n"
                              "Content-Transfer-Encoding: base64\r\n"
                              "Content-Disposition: attachment;\r\n"
                              " filename=\"empty\"\r\n"
                              "\r\n"
                              "\r\n"
                              "--=_sipeat_mixed--\r\n");
}

static void pictures_go_with_the_html(void)
{
  struct sip_message message = simple();
  struct sip_attachment files[2] = { file("logo.png", "image/png", "x"),
                                     file("a.txt", "text/plain", "y") };
  const char *out, *mixed, *related, *alternative, *picture, *other;

  files[0].content_id = text("logo@sipeat");
  message.html = text("<img src=\"cid:logo@sipeat\">");
  message.attachments = files;
  message.attachment_count = 2;
  out = render(&message);
  mixed = strstr(out, "multipart/mixed");
  related = strstr(out, "multipart/related");
  alternative = strstr(out, "multipart/alternative");
  picture = strstr(out, "Content-Disposition: inline;\r\n filename=\"logo.png\"\r\n"
                        "Content-ID: <logo@sipeat>\r\n\r\neA==\r\n");
  other = strstr(out, "Content-Disposition: attachment;\r\n filename=\"a.txt\"");
  CHECK(mixed != NULL && related != NULL && alternative != NULL && picture != NULL &&
        other != NULL);
  CHECK(mixed < related && related < alternative && alternative < picture && picture < other);
  message.html = (struct sip_slice){ NULL, 0 }; /* then it is a file like any other */
  CHECK(strstr(render(&message), "inline") == NULL);
}

static void names_of_attachments_are_of_any_language(void)
{
  static const char wide[] = "\xe8\xab\x8b\xe6\xb1\x82\xe6\x9b\xb8";
  struct sip_message message = simple();
  struct sip_attachment one = file("r\xc3\xa9sum\xc3\xa9 \"x\"\t.txt", "text/plain", "");
  char name[400] = "";

  message.attachments = &one;
  message.attachment_count = 1;
  CHECK_HAS(render(&message), ";\r\n filename*0*=UTF-8''r%C3%A9sum%C3%A9%20%22x%22%09.txt\r\n");
  for (size_t i = 0; i < 28; i++) {
    memcpy(name + i * 9, wide, 10);
  }
  one.name = text(name);
  CHECK_HAS(render(&message), ";\r\n filename*13*=%");
}

static void attachments_that_cannot_be_are_refused(void)
{
  static const struct {
    const char *name, *type, *id, *part;
  } rows[] = {
    { "", "text/plain", "", "an attachment's name" },
    { "../../etc/passwd", "text/plain", "", "an attachment's name" },
    { "a\\b", "text/plain", "", "an attachment's name" },
    { "a\r\nBcc: eve@x.test", "text/plain", "", "an attachment's name" },
    { "\xff", "text/plain", "", "an attachment's name" },
    { "a", "", "", "an attachment's type" },
    { "a", "text", "", "an attachment's type" },
    { "a", "text/", "", "an attachment's type" },
    { "a", "text; charset=a/b", "", "an attachment's type" },
    { "a", "text/plain\r\nBcc: eve@x.test", "", "an attachment's type" },
    { "a", "text/plain; name=\xc3\xa9", "", "an attachment's type" },
    { "a", "Multipart/mixed", "", "not multipart" },
    { "a", "message/rfc822", "", "not multipart" },
    { "a", "image/png", "a b", "content_id" },
    { "a", "image/png", "a>\r\n", "content_id" },
  };
  struct sip_message message = simple();
  struct sip_attachment one;

  message.attachments = &one;
  message.attachment_count = 1;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    one = file(rows[i].name, rows[i].type, "");
    one.content_id = text(rows[i].id);
    refuse(&message, UV_EINVAL, rows[i].part);
  }
  one = file("big", "text/plain", "");
  one.data.len = 26 * 1024 * 1024; /* refused before it is looked at */
  refuse(&message, SIP_ETOOBIG, "larger than");
}

int main(void)
{
  a_plain_message_is_exactly_this();
  text_comes_before_html();
  bodies_are_quoted_printable();
  headers_are_encoded_and_folded();
  messages_that_cannot_be_are_refused();
  addresses_are_taken_apart();
  other_texts_are_no_addresses();
  attachments_come_after_the_text();
  pictures_go_with_the_html();
  names_of_attachments_are_of_any_language();
  attachments_that_cannot_be_are_refused();
  (void)printf("ok\n");
  return 0;
}
