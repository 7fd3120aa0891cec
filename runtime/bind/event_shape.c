/* event_shape.c - what the headers and the body of a record say of its event. */
#include "bind/event_shape.h"

#include "core/json_text.h"
#include "core/utf8.h"

#include <string.h>

/* --- headers --- */

/* The first one that is there counts, in this order: as in stdlib/record.lua. */
static const char *const type_headers[] = { "ce_type", "event-type", "eventType", "event_type",
                                            "type" };
static const char *const id_headers[] = { "ce_id",    "event-id", "eventId",
                                          "event_id", "id",       "message-id" };

enum { TYPES = 5, IDS = 6, CONTENT_TYPE_BYTES = 128 };

/* What the headers say; all slices are borrowed from the record. */
struct found {
  struct sip_slice types[TYPES], ids[IDS]; /* by their place in the lists */
  struct sip_slice content_type;
  bool is_cloudevent; /* for stdlib/record.lua */
};

static void note_header(struct found *out, const struct sip_header *header)
{
  const char *name = header->name;

  for (size_t i = 0; i < TYPES; i++) {
    if (strcmp(name, type_headers[i]) == 0) {
      out->types[i] = header->value; /* the last one of a name counts */
    }
  }
  for (size_t i = 0; i < IDS; i++) {
    if (strcmp(name, id_headers[i]) == 0) {
      out->ids[i] = header->value;
    }
  }
  if (strcmp(name, "content-type") == 0) {
    out->content_type = header->value;
  }
  out->is_cloudevent = out->is_cloudevent || strcmp(name, "ce_specversion") == 0;
}

static struct sip_slice first_slice(const struct sip_slice *slices, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (slices[i].data != NULL && slices[i].len > 0) {
      return slices[i];
    }
  }
  return (struct sip_slice){ NULL, 0 };
}

/* false: the headers are not for us */
static bool read_content_type(const struct found *found, bool *is_json)
{
  char text[CONTENT_TYPE_BYTES];
  size_t len = found->content_type.len;

  *is_json = true;
  if (found->content_type.data == NULL) {
    return true;
  }
  if (len >= sizeof text) {
    return false;
  }
  for (size_t i = 0; i < len; i++) {
    char c = found->content_type.data[i];

    text[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  text[len] = '\0';
  *is_json = memmem(text, len, "json", strlen("json")) != NULL;
  return memmem(text, len, "cloudevents", strlen("cloudevents")) == NULL;
}

static bool is_text(const struct sip_slice *slice)
{
  size_t at = 0, length = 1;

  while (slice->data != NULL && at < slice->len && length > 0) {
    length = sip_utf8_length(slice->data + at, slice->len - at);
    at += length;
  }
  return length > 0;
}

bool sip_event_read_headers(struct sip_event_envelope *out, const struct sip_source_ops *ops,
                            const struct sip_record *record, size_t count)
{
  struct found found;

  if (count == 0) {
    *out = (struct sip_event_envelope){ .is_json = true };
    return true;
  }
  memset(&found, 0, sizeof found);
  for (size_t i = 0; i < count; i++) {
    struct sip_header header = ops->header(record, i);

    note_header(&found, &header);
  }
  out->type = first_slice(found.types, TYPES);
  out->id = first_slice(found.ids, IDS);
  return !found.is_cloudevent && read_content_type(&found, &out->is_json) && is_text(&out->type) &&
         is_text(&out->id);
}

bool sip_event_is_in_headers(const struct sip_record *record,
                             const struct sip_event_envelope *headers)
{
  return record->value.data == NULL ||
         (headers->type.data != NULL && (headers->id.data != NULL || !headers->is_json));
}

/* --- a body --- */

/* The fields of a body that say what it is. Of several that mean the same the first one counts. */
enum field {
  FIELD_TYPE,
  FIELD_EVENT_TYPE,
  FIELD_EVENT_TYPE_2,
  FIELD_ID,
  FIELD_EVENT_ID,
  FIELD_EVENT_ID_2,
  FIELD_DATA,
  FIELD_SPECVERSION,
  BODY_FIELDS
};

static bool is_name(const char *text, const char *name, size_t len)
{
  return memcmp(text, name, len) == 0;
}

static enum field field_of(const char *name, size_t len)
{
  switch (len) {
  case 2:
    return is_name(name, "id", 2) ? FIELD_ID : BODY_FIELDS;
  case 4:
    return is_name(name, "type", 4)   ? FIELD_TYPE
           : is_name(name, "data", 4) ? FIELD_DATA
                                      : BODY_FIELDS;
  case 7:
    return is_name(name, "eventId", 7) ? FIELD_EVENT_ID : BODY_FIELDS;
  case 8:
    return is_name(name, "event_id", 8) ? FIELD_EVENT_ID_2 : BODY_FIELDS;
  case 9:
    return is_name(name, "eventType", 9) ? FIELD_EVENT_TYPE : BODY_FIELDS;
  case 10:
    return is_name(name, "event_type", 10) ? FIELD_EVENT_TYPE_2 : BODY_FIELDS;
  case 11:
    return is_name(name, "specversion", 11) ? FIELD_SPECVERSION : BODY_FIELDS;
  default:
    return BODY_FIELDS;
  }
}

/* Finds all of them in one pass: their values, or NULL. Of equal keys the last one counts. */
static void find_fields(const char *text, struct sip_json_token *object,
                        struct sip_json_token *out[BODY_FIELDS])
{
  enum { LONGEST = 11, ESCAPE = 6 }; /* an escape of one letter takes up to six */
  struct sip_json_token *end = object + object->span;
  char plain[LONGEST * ESCAPE];

  for (size_t i = 0; i < BODY_FIELDS; i++) {
    out[i] = NULL;
  }
  for (struct sip_json_token *key = object + 1; key < end; key += 1 + key[1].span) {
    enum field field = BODY_FIELDS;

    if ((key->flags & SIP_JSON_ESCAPED) == 0) {
      field = field_of(text + key->at, key->len);
    } else if (key->len <= sizeof plain) {
      field = field_of(plain, sip_json_unescape(plain, text, key));
    }
    if (field < BODY_FIELDS) {
      out[field] = key + 1;
    }
  }
}

/* The first of three that has a value. */
static struct sip_json_token *first_value(struct sip_json_token *const values[3])
{
  for (size_t i = 0; i < 3; i++) {
    if (values[i] != NULL && values[i]->type != SIP_JSON_NULL &&
        (values[i]->type != SIP_JSON_STRING || values[i]->len > 0)) {
      return values[i];
    }
  }
  return NULL;
}

bool sip_event_read_body(struct sip_event_body *out, const struct sip_json *json,
                         const struct sip_event_envelope *headers)
{
  struct sip_json_token *found[BODY_FIELDS], *data, *type;

  *out = (struct sip_event_body){ NULL, NULL, NULL };
  if (json->tokens->type != SIP_JSON_OBJECT) {
    return true;
  }
  find_fields(json->text, json->tokens, found);
  if (found[FIELD_SPECVERSION] != NULL) {
    return false;
  }
  type = first_value(&found[FIELD_TYPE]);
  data = found[FIELD_DATA];
  if (type == NULL || type->type != SIP_JSON_STRING || data == NULL ||
      (data->type != SIP_JSON_OBJECT && data->type != SIP_JSON_ARRAY)) {
    return true;
  }
  if (headers->type.data == NULL ||
      sip_json_equal(json->text, type, headers->type.data, headers->type.len)) {
    out->type = type;
    out->data = data;
    out->id = first_value(&found[FIELD_ID]);
  }
  return true;
}
