#ifndef SIP_BIND_EVENT_SHAPE_H
#define SIP_BIND_EVENT_SHAPE_H
/* event_shape.h - what the headers and the body of a record say of its event, for the shapes that
 * are common and cheap to tell. All others are stdlib/record.lua's. Any thread. */
#include "core/json.h"
#include "flow/port.h"

/** What headers say; the slices are borrowed from the record, without data when there is none. */
struct sip_event_envelope {
  struct sip_slice type, id;
  bool is_json; /* the body, if there is one */
};

/** What a scanned body says: tokens of it, or NULL. Without `data` the whole body is the data. */
struct sip_event_body {
  struct sip_json_token *type, *id, *data;
};

/** @param count  of the record's headers. @return false when they are not for us */
bool sip_event_read_headers(struct sip_event_envelope *out, const struct sip_source_ops *ops,
                            const struct sip_record *record, size_t count);

/** Do type and id stand in headers, or is there no body? Then it need not be read now. */
bool sip_event_is_in_headers(const struct sip_record *record,
                             const struct sip_event_envelope *headers);

/** @return false when the body is not for us */
bool sip_event_read_body(struct sip_event_body *out, const struct sip_json *json,
                         const struct sip_event_envelope *headers);

#endif
