/* multipart_test.c - bodies of multipart/form-data: those that are, and those that are not quite.
 */
#include "http/multipart.h"

#include "support/test.h"

#define TYPE  "multipart/form-data; boundary=BB"
#define NAMED "Content-Disposition: form-data; name=\"a\"\r\n\r\n"

static struct sip_slice text(const char *s)
{
  return (struct sip_slice){ s, strlen(s) };
}

/* Every part as name=body, in one text; "!" where it is refused. */
static const char *read_all(const char *type, const char *body)
{
  static char out[2000];
  struct sip_slice kind = text(type), bytes = text(body);
  struct sip_multipart reader;
  struct sip_err err = { 0 };
  struct sip_part part;
  size_t len = 0;
  int rc;

  out[0] = '\0';
  if (sip_multipart_init(&reader, &kind, &bytes, &err) < 0) {
    CHECK_INT(err.code, SIP_EDATA);
    return "!";
  }
  while ((rc = sip_multipart_next(&reader, &part, &err)) == 1) {
    len +=
      (size_t)snprintf(out + len, sizeof out - len, "%.*s", (int)part.name.len, part.name.data);
    if (part.filename.data != NULL) {
      len += (size_t)snprintf(out + len, sizeof out - len, "(%.*s)", (int)part.filename.len,
                              part.filename.data);
    }
    if (part.type.data != NULL) {
      len +=
        (size_t)snprintf(out + len, sizeof out - len, ":%.*s", (int)part.type.len, part.type.data);
    }
    len +=
      (size_t)snprintf(out + len, sizeof out - len, "=%.*s|", (int)part.body.len, part.body.data);
  }
  if (rc < 0) {
    CHECK_INT(err.code, SIP_EDATA);
    return "!";
  }
  CHECK_INT(sip_multipart_next(&reader, &part, &err), 0); /* the end stays the end */
  return out;
}

static void parts_are_taken_apart(void)
{
  CHECK_STR(read_all(TYPE, "--BB\r\n" NAMED "one\r\n--BB--\r\n"), "a=one|");
  CHECK_STR(read_all(TYPE, "\r\n--BB\r\n" NAMED "one\r\n--BB--"), "a=one|");
  CHECK_STR(read_all(TYPE, "--BB\r\n" NAMED "\r\n--BB\r\n" NAMED "b\r\n--BB--\r\n"), "a=|a=b|");
  CHECK_STR(read_all(TYPE, "--BB \t\r\n" NAMED "one\r\n\r\n--BB--\r\nepilogue"), "a=one\r\n|");
  CHECK_STR(read_all(TYPE, "--BB\r\n" NAMED "-\r\n--X\r\n--Xx\r\n--BB--"), "a=-\r\n--X\r\n--Xx|");
  CHECK_STR(read_all(TYPE, "--BB--"), "");
  CHECK_STR(read_all(TYPE, "--BB\r\nContent-Type: text/plain\r\n"
                           "content-disposition:form-data;name=f; filename=\"x;\\\"y\"\r\n"
                           "X-More: z\r\n\r\nbytes\r\n--BB--"),
            "f(x;\\\"y):text/plain=bytes|");
  CHECK_STR(read_all("Multipart/Form-Data;charset=utf-8; Boundary=\"a'()+_,-./:=?\"",
                     "--a'()+_,-./:=?\r\n" NAMED "1\r\n--a'()+_,-./:=?--"),
            "a=1|");
}

static void types_without_a_boundary_are_refused(void)
{
  static char seventy_one[200] = "multipart/form-data; boundary=";
  static const char *const types[] = {
    "",
    "multipart/form-data",
    "multipart/form-data; boundary",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=\"\"",
    "multipart/mixed; boundary=BB",
    "multipart/form-data; boundary=X X",
    "multipart/form-data; boundary=\"BB",
    "multipart/form-data; boundary=BB; boundary=BB",
    "multipart/form-data boundary=BB",
    seventy_one,
  };

  memset(seventy_one + strlen(seventy_one), 'B', 71);
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    CHECK_STR(read_all(types[i], "--BB\r\n" NAMED "one\r\n--BB--\r\n"), "!");
  }
}

static void bodies_that_are_not_well_formed_are_refused(void)
{
  static const char *const bodies[] = {
    "",
    "-",
    "--X",
    "--BB",
    "--BB-",
    "--BBX--",
    "--BB\r",
    "--BB\r\n",
    "--BB\n" NAMED "one\n--BB--",
    "--BB\r\n" NAMED,
    "--BB\r\n" NAMED "one",
    "--BB\r\n" NAMED "one\r\n--BB",
    "--BB\r\n" NAMED "one\r\n--BB\r\n",
    "--BB\r\n" NAMED "--BB--",
    "preamble\r\n--BB\r\n" NAMED "1\r\n--BB--",
    "--BB\r\nContent-Disposition: form-data\r\n\r\n1\r\n--BB--",
    "--BB\r\nContent-Disposition: file; name=a\r\n\r\n1\r\n--BB--",
    "--BB\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n--BB--",
    "--BB\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n--BB--",
    "--BB\r\nContent-Disposition: form-data; name=a\r\n" NAMED "1\r\n--BB--",
    "--BB\r\nno colon\r\n" NAMED "1\r\n--BB--",
    "--BB\r\nA b: c\r\n" NAMED "1\r\n--BB--",
    "--BB\r\n folded: c\r\n" NAMED "1\r\n--BB--",
    "--BB\r\nX: \x01\r\n" NAMED "1\r\n--BB--",
    "--BB\r\nContent-Transfer-Encoding: base64\r\n" NAMED "MQ==\r\n--BB--",
    "--BB\r\n\r\n1\r\n--BB--",
    "--BBjunk\r\n" NAMED "1\r\n--BB--",
  };
  static char many[8000] = "--BB\r\n";

  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    if (strcmp(read_all(TYPE, bodies[i]), "!") != 0) {
      SIP_TEST_FAIL("taken: %s", bodies[i]);
    }
  }
  for (int i = 0; i < 20; i++) {
    (void)strcat(many, "X: y\r\n");
  }
  (void)strcat(many, NAMED "1\r\n--BB--");
  CHECK_STR(read_all(TYPE, many), "!");
}

int main(void)
{
  parts_are_taken_apart();
  types_without_a_boundary_are_refused();
  bodies_that_are_not_well_formed_are_refused();
  (void)printf("ok\n");
  return 0;
}
