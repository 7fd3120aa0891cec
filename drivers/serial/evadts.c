/* evadts.c - see evadts.h. */
#include "serial/evadts.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { DIGITS_MAX = 18, G85_DIGITS = 4 };

struct line {
  const char *text;
  size_t size;
};

/* The next line that is not empty, without its end; false: there is none. */
static bool next_line(const char **at, const char *end, struct line *line)
{
  while (*at < end) {
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    const char *over = stop == NULL ? end : stop;

    line->text = *at;
    line->size = (size_t)(over - *at);
    *at = stop == NULL ? end : stop + 1;
    if (line->size > 0 && line->text[line->size - 1] == '\r') {
      line->size--;
    }
    if (line->size > 0) {
      return true;
    }
  }
  return false;
}

/* The field `n` (0: the segment's name); false: it is missing or empty. */
static bool field(const struct line *line, unsigned n, struct line *out)
{
  const char *at = line->text, *end = line->text + line->size;

  for (;;) {
    const char *star = memchr(at, '*', (size_t)(end - at));

    if (n == 0) {
      out->text = at;
      out->size = (size_t)((star == NULL ? end : star) - at);
      return out->size > 0;
    }
    if (star == NULL) {
      return false;
    }
    at = star + 1;
    n--;
  }
}

static bool is(const struct line *line, const char *name)
{
  struct line tag;

  return field(line, 0, &tag) && tag.size == strlen(name) && memcmp(tag.text, name, tag.size) == 0;
}

static bool number(const struct line *line, unsigned n, int64_t *out)
{
  struct line text;
  size_t at;

  if (!field(line, n, &text) || text.size > DIGITS_MAX) {
    return false;
  }
  at = text.text[0] == '-';
  *out = 0;
  if (at == text.size) {
    return false;
  }
  for (; at < text.size; at++) {
    if (text.text[at] < '0' || text.text[at] > '9') {
      return false;
    }
    *out = *out * 10 + (text.text[at] - '0');
  }
  *out = text.text[0] == '-' ? -*out : *out;
  return true;
}

/* Four hex digits; -1: something else. */
static long g85_given(const struct line *line)
{
  struct line text;
  long value = 0;

  if (!field(line, 1, &text)) {
    return -1;
  }
  while (text.size > 0 && text.text[text.size - 1] == ' ') {
    text.size--;
  }
  if (text.size != G85_DIGITS) {
    return -1;
  }
  for (size_t i = 0; i < text.size; i++) {
    static const char digits[] = "0123456789ABCDEF";
    char c = text.text[i] >= 'a' && text.text[i] <= 'f' ? (char)(text.text[i] - 32) : text.text[i];
    const char *digit = c == '\0' ? NULL : strchr(digits, c);

    if (digit == NULL) {
      return -1;
    }
    value = value * 16 + (digit - digits);
  }
  return value;
}

struct segments {
  bool dxs, st, g85, se, dxe;
  long g85_value;
  int64_t se_value;
  unsigned counted; /* from ST to SE */
  uint16_t crc;     /* from ST to before G85 */
};

static void look_at(struct segments *found, const struct line *line)
{
  found->st = found->st || is(line, "ST");
  if (is(line, "G85") && !found->g85) {
    found->g85 = true;
    found->g85_value = g85_given(line);
  }
  if (found->st && !found->g85) {
    found->crc = sip_crc16_a001(found->crc, (const uint8_t *)line->text, line->size);
    found->crc = sip_crc16_a001(found->crc, (const uint8_t *)"\r\n", 2);
  }
  if (found->st && !found->se) {
    found->counted++;
  }
  if (is(line, "SE") && !found->se) {
    found->se = true;
    if (!number(line, 1, &found->se_value)) {
      found->se_value = -1;
    }
  }
  found->dxs = found->dxs || is(line, "DXS");
  found->dxe = found->dxe || is(line, "DXE");
}

struct sip_evadts_verdict sip_evadts_check(const char *text, size_t size)
{
  struct sip_evadts_verdict verdict = { .name = "ok" };
  struct segments found = { .crc = SIP_CRC16_ARC };
  const char *at = text;
  struct line line;
  long swapped;

  while (next_line(&at, text + size, &line)) {
    look_at(&found, &line);
  }
  verdict.g85 = found.crc;
  verdict.se = found.counted;
  verdict.whole = found.dxs && found.st && found.g85 && found.se && found.dxe;
  swapped = (long)(found.crc >> 8) | (long)(found.crc & 0xFFu) << 8;
  if (!verdict.whole) {
    verdict.name = !found.dxs   ? "missing:DXS"
                   : !found.st  ? "missing:ST"
                   : !found.g85 ? "missing:G85"
                   : !found.se  ? "missing:SE"
                                : "missing:DXE";
  } else if (found.g85_value != found.crc) {
    verdict.name = found.g85_value == swapped ? "g85_swapped" : "g85";
  } else if (found.se_value != found.counted) {
    verdict.name = "se_count";
  }
  verdict.trusted = verdict.whole && strcmp(verdict.name, "g85") != 0;
  return verdict;
}

/* How a record becomes an event: which of its fields, text or number, under which name. */
struct rule {
  const char *tag, *event;
  struct {
    unsigned at;
    char kind; /* 't' text, 'n' number */
    const char *name;
  } fields[10];
};

static const struct rule RULES[] = {
  { "ID1",
    "machine",
    { { 1, 't', "serial" },
      { 2, 't', "model" },
      { 3, 't', "build" },
      { 4, 't', "location" },
      { 6, 't', "asset" } } },
  { "CB1", "board", { { 1, 't', "serial" }, { 2, 't', "model" }, { 3, 't', "build" } } },
  { "ID4", "currency", { { 1, 'n', "decimals" }, { 2, 't', "numeric_code" }, { 3, 't', "code" } } },
  { "VA1",
    "vends",
    { { 1, 'n', "value_minor" },
      { 2, 'n', "count" },
      { 3, 'n', "value_since_reset_minor" },
      { 4, 'n', "count_since_reset" } } },
  { "CA2",
    "cash_vends",
    { { 1, 'n', "value_minor" },
      { 2, 'n', "count" },
      { 3, 'n', "value_since_reset_minor" },
      { 4, 'n', "count_since_reset" } } },
  { "DA2",
    "cashless_vends",
    { { 1, 'n', "value_minor" },
      { 2, 'n', "count" },
      { 3, 'n', "value_since_reset_minor" },
      { 4, 'n', "count_since_reset" } } },
  { "CA3",
    "cash_in",
    { { 1, 'n', "value_since_reset_minor" },
      { 2, 'n', "to_box_since_reset_minor" },
      { 3, 'n', "to_tubes_since_reset_minor" },
      { 4, 'n', "bills_since_reset_minor" },
      { 5, 'n', "value_minor" },
      { 6, 'n', "to_box_minor" },
      { 7, 'n', "to_tubes_minor" },
      { 8, 'n', "bills_minor" } } },
  { "PA7",
    "product_payment",
    { { 1, 't', "product" },
      { 2, 't', "payment" },
      { 3, 'n', "price_list" },
      { 4, 'n', "price_minor" },
      { 5, 'n', "count" },
      { 6, 'n', "value_minor" },
      { 7, 'n', "count_since_reset" },
      { 8, 'n', "value_since_reset_minor" } } },
  { "CA17",
    "tube",
    { { 1, 'n', "tube" },
      { 2, 'n', "coin_minor" },
      { 3, 'n', "count" },
      { 4, 'n', "filled" },
      { 5, 'n', "emptied" },
      { 6, 'n', "full" } } },
  { "EA1",
    "incident",
    { { 1, 't', "code" }, { 2, 't', "date" }, { 3, 't', "time" }, { 4, 'n', "minutes" } } },
  { "EA2",
    "incident",
    { { 1, 't', "code" }, { 2, 'n', "count_since_reset" }, { 3, 'n', "count" } } },
  { "EA3", "reads", { { 1, 'n', "count" } } },
  { "EA7", "outages", { { 1, 'n', "count_since_reset" }, { 2, 'n', "count" } } },
};

static void add_text(struct sip_note *note, const char *name, const struct line *line, unsigned n)
{
  struct line text;

  if (field(line, n, &text)) {
    (void)sip_note_bytes(note, name, text.text, text.size);
  }
}

static void add_number(struct sip_note *note, const char *name, const struct line *line, unsigned n)
{
  int64_t value;

  if (number(line, n, &value)) {
    (void)sip_note_int(note, name, value);
  }
}

static void tell_product(const struct line *product, const struct line *sales,
                         sip_evadts_fn on_event, void *arg)
{
  struct sip_note note = { .name = "product" };

  add_text(&note, "id", product, 1);
  add_number(&note, "price_minor", product, 2);
  add_text(&note, "name", product, 3);
  if (sales != NULL) {
    add_number(&note, "count", sales, 1);
    add_number(&note, "value_minor", sales, 2);
    add_number(&note, "count_since_reset", sales, 3);
    add_number(&note, "value_since_reset_minor", sales, 4);
  }
  on_event(arg, &note);
}

static void tell_record(const struct line *line, sip_evadts_fn on_event, void *arg)
{
  for (size_t i = 0; i < sizeof RULES / sizeof RULES[0]; i++) {
    const struct rule *rule = &RULES[i];
    struct sip_note note = { .name = rule->event };

    if (!is(line, rule->tag)) {
      continue;
    }
    for (size_t j = 0; j < 10 && rule->fields[j].name != NULL; j++) {
      if (rule->fields[j].kind == 't') {
        add_text(&note, rule->fields[j].name, line, rule->fields[j].at);
      } else {
        add_number(&note, rule->fields[j].name, line, rule->fields[j].at);
      }
    }
    if (note.count > 0) {
      on_event(arg, &note);
    }
    return;
  }
}

void sip_evadts_events(const char *text, size_t size, sip_evadts_fn on_event, void *arg)
{
  const char *at = text;
  struct line line, product = { .text = NULL };

  while (next_line(&at, text + size, &line)) {
    bool sales = is(&line, "PA2");

    /* PA2 belongs to the PA1 before it, with nothing of another product between. */
    if (product.text != NULL && (sales || is(&line, "PA1"))) {
      tell_product(&product, sales ? &line : NULL, on_event, arg);
      product.text = NULL;
    }
    if (is(&line, "PA1")) {
      product = line;
    } else if (!sales) {
      tell_record(&line, on_event, arg);
    }
  }
  if (product.text != NULL) {
    tell_product(&product, NULL, on_event, arg);
  }
}

struct json {
  struct sip_buf *out;
  unsigned count;
  int rc;
};

static int json_text(struct sip_buf *out, const char *text, size_t size)
{
  int rc = sip_buf_adds(out, "\"");

  for (size_t i = 0; i < size && rc == 0; i++) {
    unsigned char c = (unsigned char)text[i];

    rc = c < 0x20 || c >= 0x7F || c == '"' || c == '\\' ? sip_buf_addf(out, "\\u%04x", c)
                                                        : sip_buf_add(out, text + i, 1);
  }
  return rc == 0 ? sip_buf_adds(out, "\"") : rc;
}

static void json_event(void *arg, const struct sip_note *event)
{
  struct json *json = arg;

  if (json->rc == 0) {
    json->rc =
      sip_buf_addf(json->out, "%s{\"event\":\"%s\"", json->count++ == 0 ? "" : ",", event->name);
  }
  for (unsigned i = 0; i < event->count && json->rc == 0; i++) {
    const struct sip_value *value = &event->fields[i];

    json->rc = sip_buf_addf(json->out, ",\"%s\":", value->name);
    if (json->rc == 0 && value->kind == SIP_VALUE_TEXT) {
      json->rc = json_text(json->out, value->text, value->size);
    } else if (json->rc == 0) {
      json->rc = sip_buf_addf(json->out, "%lld", (long long)value->number);
    }
  }
  if (json->rc == 0) {
    json->rc = sip_buf_adds(json->out, "}");
  }
}

int sip_evadts_json(struct sip_buf *out, const char *text, size_t size)
{
  struct json json = { .out = out, .rc = sip_buf_adds(out, "[") };

  sip_evadts_events(text, size, json_event, &json);
  return json.rc == 0 ? sip_buf_adds(out, "]") : json.rc;
}

struct totals {
  struct sip_evadts_totals totals;
  int64_t slot;
};

/* "7", "07" and "COL 7" are slot 7. */
static bool of_slot(const struct sip_value *id, int64_t slot)
{
  size_t at = id->size;
  int64_t value = 0;

  while (at > 0 && id->text[at - 1] >= '0' && id->text[at - 1] <= '9') {
    at--;
  }
  if (at == id->size || id->size - at > DIGITS_MAX) {
    return false;
  }
  for (; at < id->size; at++) {
    value = value * 10 + (id->text[at] - '0');
  }
  return value == slot;
}

static void total_event(void *arg, const struct sip_note *event)
{
  struct totals *totals = arg;

  if (strcmp(event->name, "vends") == 0) {
    totals->totals.vends = sip_note_number(event, "count", -1);
    totals->totals.value_minor = sip_note_number(event, "value_minor", -1);
  } else if (strcmp(event->name, "product") == 0) {
    const struct sip_value *id = sip_note_find(event, "id");

    if (id != NULL && of_slot(id, totals->slot)) {
      totals->totals.slot_vends = sip_note_number(event, "count", -1);
      totals->totals.slot_value_minor = sip_note_number(event, "value_minor", -1);
    }
  }
}

struct sip_evadts_totals sip_evadts_totals(const char *text, size_t size, int64_t slot)
{
  struct totals totals = { .totals = { -1, -1, -1, -1 }, .slot = slot };

  sip_evadts_events(text, size, total_event, &totals);
  return totals.totals;
}
