#ifndef SIP_SERIAL_QIBIXX_FRAME_H
#define SIP_SERIAL_QIBIXX_FRAME_H
/* qibixx_frame.h - lines of the Qibixx MDB interface: text, fields between commas, LF at the end
 * (CR LF is taken). There is no check and no number in them. Any thread. */
#include "core/base.h"
#include "serial/frame.h"

enum { SIP_QIBIXX_LINE = 256, SIP_QIBIXX_FIELDS = 16 };

enum sip_qibixx_fault {
  SIP_QIBIXX_OK,
  SIP_QIBIXX_UNTERMINATED, /* no LF: never to be used */
  SIP_QIBIXX_EMPTY,
  SIP_QIBIXX_OVERSIZE,
  SIP_QIBIXX_MERGED, /* an LF inside */
  SIP_QIBIXX_NONPRINTABLE,
  SIP_QIBIXX_PREFIX, /* does not begin with a letter */
  SIP_QIBIXX_FAULTS
};

/* A line and its fields, the first of which is the tag; quotes are part of a field. What is beyond
 * the last field is part of it. */
struct sip_qibixx_line {
  size_t count;
  struct sip_slice fields[SIP_QIBIXX_FIELDS]; /* in the bytes that were read */
};

/* Each line with its LF; what is longer than SIP_QIBIXX_LINE without one comes in pieces. */
extern const struct sip_framing sip_qibixx_framing;

enum sip_qibixx_fault sip_qibixx_read(const uint8_t *bytes, size_t size,
                                      struct sip_qibixx_line *line);

const char *sip_qibixx_fault_name(enum sip_qibixx_fault fault);

/** True when the field is `text`. */
bool sip_qibixx_is(const struct sip_qibixx_line *line, size_t field, const char *text);

/** An amount in minor units out of decimal text: with two decimals "1" is 100, "1.5" 150.
 *  @return false when it is none, is negative, or has more decimals */
bool sip_qibixx_amount(const struct sip_slice *text, unsigned decimals, int64_t *minor);

/** The text of an amount, which is not negative: 150 with two decimals is "1.50". */
void sip_qibixx_print(int64_t minor, unsigned decimals, char *out, size_t room);

/** As `describe` of a protocol. */
size_t sip_qibixx_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room);

#endif
