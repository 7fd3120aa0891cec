/* dex_frame_test.c - DEX, DDCMP and EVA-DTS as they stand in the standard: vectors, both ways. */
#include "serial/ddcmp_frame.h"
#include "serial/dex_frame.h"
#include "serial/evadts.h"
#include "support/framing.h"
#include "support/test.h"
#include "support/vectors.h"

enum { ROOM = 1200, AUDIT_ROOM = 8192 };

static bool block_good(const uint8_t *bytes, size_t size)
{
  struct sip_dex_item item;

  return sip_dex_read_block(&item, bytes, size) == SIP_DEX_OK && item.size > 0;
}

static bool ddcmp_good(const uint8_t *bytes, size_t size)
{
  struct sip_ddcmp_message message;

  return sip_ddcmp_read(&message, bytes, size) == SIP_DDCMP_OK;
}

static void described(const uint8_t *bytes, size_t size)
{
  char text[600] = "";

  CHECK_INT(sip_dex_describe(bytes, size, false, text, sizeof text), size);
  CHECK(text[0] != '\0' && strcmp(text, "noise") != 0);
}

static void block_holds(const struct vector *vector)
{
  uint8_t bytes[ROOM], again[ROOM];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_dex_item item;
  enum sip_dex_fault fault = sip_dex_read_block(&item, bytes, size);
  bool filler = memmem(bytes, size, "\x10\x16", 2) != NULL;
  struct vector fields, last;
  const char *text;

  CHECK_STR(sip_dex_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_DEX_OK) {
    return;
  }
  CHECK(vector_field(vector, "fields", &fields));
  text = vector_text(&fields, "text", 1);
  if (text != NULL) {
    CHECK_INT(item.size, strlen(text));
    CHECK(memcmp(item.text, text, item.size) == 0);
  }
  if (vector_field(&fields, "last", &last)) {
    CHECK_INT(item.last, last.value->type == SIP_JSON_TRUE);
  }
  described(bytes, size);
  if (!filler) {
    CHECK_INT(sip_dex_write_block(again, sizeof again, item.kind, item.last, item.text, item.size),
              size);
    CHECK(memcmp(again, bytes, size) == 0);
  }
  framing_holds(&sip_dex_framing, NULL, bytes, size, block_good);
}

static void control_holds(const struct vector *vector)
{
  uint8_t bytes[8], again[2];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_dex_item item;
  struct vector fields;

  CHECK_INT(sip_dex_read_control(&item, bytes, size), SIP_DEX_OK);
  CHECK(vector_field(vector, "fields", &fields));
  CHECK_STR(sip_dex_control_name(item.control), vector_text(&fields, "name", 1));
  CHECK_INT(sip_dex_write_control(again, item.control), size);
  CHECK(memcmp(again, bytes, size) == 0);
  CHECK_INT(sip_dex_look(bytes, size, NULL), size);
  described(bytes, size);
}

static void ddcmp_holds(const struct vector *vector)
{
  uint8_t bytes[ROOM], again[SIP_DDCMP_FRAME_MAX];
  size_t size = vector_bytes(vector, "hex", bytes, sizeof bytes);
  struct sip_ddcmp_message message;
  enum sip_ddcmp_fault fault = sip_ddcmp_read(&message, bytes, size);
  struct vector fields;

  CHECK_STR(sip_ddcmp_fault_name(fault), vector_text(vector, "expect", 0));
  if (fault != SIP_DDCMP_OK) {
    return;
  }
  CHECK(vector_field(vector, "fields", &fields));
  if (vector_text(&fields, "kind", 1) != NULL) {
    CHECK_STR(message.data ? "data" : "control", vector_text(&fields, "kind", 1));
  }
  CHECK_INT(message.data ? (int64_t)message.size : -1, vector_int(&fields, "length", -1));
  CHECK_INT(message.rx, vector_int(&fields, "rx", message.rx));
  CHECK_INT(message.tx, vector_int(&fields, "tx", message.tx));
  CHECK_INT(message.type, vector_int(&fields, "type", message.type));
  CHECK_INT(sip_ddcmp_write(again, &message), size);
  CHECK(memcmp(again, bytes, size) == 0);
  described(bytes, size);
  framing_holds(&sip_ddcmp_framing, NULL, bytes, size, ddcmp_good);
}

/* As it stands in the vector, and with the ends of lines that the wire has. */
static void audit_holds(const struct vector *vector)
{
  const char *text = vector_text(vector, "text", 0);
  const char *expect = vector_text(vector, "expect", 1);
  char wire[AUDIT_ROOM], g85[8];
  struct sip_evadts_verdict verdict, again;
  struct vector fields;
  size_t size = 0;

  for (const char *at = text; *at != '\0'; at++) {
    CHECK(size + 2 < sizeof wire);
    if (*at == '\n') {
      wire[size++] = '\r';
    }
    wire[size++] = *at;
  }
  verdict = sip_evadts_check(text, strlen(text));
  again = sip_evadts_check(wire, size);
  CHECK_STR(verdict.name, expect);
  CHECK_STR(again.name, expect);
  CHECK_INT(verdict.trusted, strcmp(expect, "ok") == 0 || strcmp(expect, "se_count") == 0 ||
                               strcmp(expect, "g85_swapped") == 0);
  CHECK_INT(verdict.whole, strncmp(expect, "missing", 7) != 0);
  if (vector_field(vector, "fields", &fields)) {
    (void)snprintf(g85, sizeof g85, "%04X", verdict.g85);
    if (vector_text(&fields, "g85", 2) != NULL) {
      CHECK_STR(g85, vector_text(&fields, "g85", 2));
    }
    CHECK_INT(verdict.se, vector_int(&fields, "se", verdict.se));
  }
}

static void vector_holds(const struct vector *vector)
{
  const char *check = vector_text(vector, "check", 1);

  if (strcmp(check, "dex_block") == 0) {
    block_holds(vector);
  } else if (strcmp(check, "dex_ctl") == 0) {
    control_holds(vector);
  } else if (strcmp(check, "ddcmp") == 0) {
    ddcmp_holds(vector);
  } else {
    CHECK_STR(check, "audit");
    audit_holds(vector);
  }
}

static void records_become_events(void)
{
  static const char audit[] = "DXS*RST7654321*VA*V0/6*1\r\nST*001*0001\r\n"
                              "ID1*112233*ABC1234*0101*B\"1**777\r\nID4*2*978*EUR\r\n"
                              "VA1*400*5*150*2\r\nCA3*100***1*250\r\nCA17*00*5*77\r\n"
                              "PA1*COL 1*50*Snack 1\r\nPA2*1*100*1*100\r\nPA1*COL 2*100\r\n"
                              "PA1*7*60*\xFC\r\nPA2*3\r\nPA7*7*CA*1*60*2*120\r\nEA1*EFL*191231\r\n"
                              "EA3*4\r\nEA7*1*2\r\nXX9*1\r\nSE*99*0001";
  struct sip_evadts_totals totals = sip_evadts_totals(audit, strlen(audit), 7);
  struct sip_buf json = SIP_BUF_INIT;

  CHECK_INT(sip_evadts_json(&json, audit, strlen(audit)), 0);
  CHECK_STR(
    json.data,
    "[{\"event\":\"machine\",\"serial\":\"112233\",\"model\":\"ABC1234\",\"build\":\"0101\","
    "\"location\":\"B\\u00221\",\"asset\":\"777\"},"
    "{\"event\":\"currency\",\"decimals\":2,\"numeric_code\":\"978\",\"code\":\"EUR\"},"
    "{\"event\":\"vends\",\"value_minor\":400,\"count\":5,\"value_since_reset_minor\":150,"
    "\"count_since_reset\":2},"
    "{\"event\":\"cash_in\",\"value_since_reset_minor\":100,\"bills_since_reset_minor\":1,"
    "\"value_minor\":250},"
    "{\"event\":\"tube\",\"tube\":0,\"coin_minor\":5,\"count\":77},"
    "{\"event\":\"product\",\"id\":\"COL 1\",\"price_minor\":50,\"name\":\"Snack 1\",\"count\":1,"
    "\"value_minor\":100,\"count_since_reset\":1,\"value_since_reset_minor\":100},"
    "{\"event\":\"product\",\"id\":\"COL 2\",\"price_minor\":100},"
    "{\"event\":\"product\",\"id\":\"7\",\"price_minor\":60,\"name\":\"\\u00fc\",\"count\":3},"
    "{\"event\":\"product_payment\",\"product\":\"7\",\"payment\":\"CA\",\"price_list\":1,"
    "\"price_minor\":60,\"count\":2,\"value_minor\":120},"
    "{\"event\":\"incident\",\"code\":\"EFL\",\"date\":\"191231\"},"
    "{\"event\":\"reads\",\"count\":4},"
    "{\"event\":\"outages\",\"count_since_reset\":1,\"count\":2}]");
  CHECK_INT(totals.vends, 5);
  CHECK_INT(totals.value_minor, 400);
  CHECK_INT(totals.slot_vends, 3);
  CHECK_INT(sip_evadts_totals(audit, strlen(audit), 1).slot_value_minor, 100);
  CHECK_INT(sip_evadts_totals(audit, strlen(audit), 2).slot_vends, -1);
  CHECK_INT(sip_evadts_totals(audit, strlen(audit), 9).slot_vends, -1);
  sip_buf_deinit(&json);
}

int main(void)
{
  vectors_each("dex", 37, vector_holds);
  records_become_events();
  (void)printf("ok\n");
  return 0;
}
