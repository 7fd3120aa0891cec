#ifndef SIP_SERIAL_CCTALK_FRAME_H
#define SIP_SERIAL_CCTALK_FRAME_H
/* cctalk_frame.h - frames of ccTalk: bytes to fields, and back; and what a counter of events says.
 *
 * Simple: destination, length of the data, source, header, data, a byte that makes the sum 0. With
 * CRC: the low byte of crc16-ccitt-0000 stands in the place of the source, the high one at the end.
 * Source: ccTalk generic specification, part 2, v4.6. No state; any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "serial/frame.h"

enum {
  SIP_CCTALK_HOST = 1,
  SIP_CCTALK_DATA_MAX = 255,
  SIP_CCTALK_FRAME_MAX = SIP_CCTALK_DATA_MAX + 5,
  SIP_CCTALK_EVENTS = 5, /* in the buffer of an acceptor */
  SIP_CCTALK_CREDIT_BYTES = 1 + 2 * SIP_CCTALK_EVENTS
};

/* Headers. */
enum {
  SIP_CCTALK_REPLY = 0,
  SIP_CCTALK_RESET = 1,
  SIP_CCTALK_NAK = 5,
  SIP_CCTALK_BUSY = 6,
  SIP_CCTALK_CIPHER_KEY = 160,
  SIP_CCTALK_TEST_HOPPER = 163,
  SIP_CCTALK_ENABLE_HOPPER = 164,
  SIP_CCTALK_HOPPER_STATUS = 166,
  SIP_CCTALK_DISPENSE = 167,
  SIP_CCTALK_DISPENSE_COUNT = 168,
  SIP_CCTALK_STOP = 172,
  SIP_CCTALK_MASTER_INHIBIT = 228,
  SIP_CCTALK_READ_CREDIT = 229,
  SIP_CCTALK_INHIBIT = 231,
  SIP_CCTALK_SOFTWARE = 241,
  SIP_CCTALK_SERIAL_NUMBER = 242,
  SIP_CCTALK_PRODUCT = 244,
  SIP_CCTALK_CATEGORY = 245,
  SIP_CCTALK_MAKER = 246,
  SIP_CCTALK_POLL = 254
};

enum sip_cctalk_fault { SIP_CCTALK_OK, SIP_CCTALK_SHORT, SIP_CCTALK_LENGTH, SIP_CCTALK_CHECKSUM };

struct sip_cctalk_frame {
  uint8_t dest, src, header; /* src: 0 with CRC, where there is none */
  uint8_t size;
  const uint8_t *data; /* not owned */
};

/* How frames look, for struct sip_framing's `of`. */
struct sip_cctalk_form {
  bool crc;
  uint8_t dest; /* 0: to anybody */
};

extern const struct sip_framing sip_cctalk_framing;

/** "ok", "short", … */
const char *sip_cctalk_fault_name(enum sip_cctalk_fault fault);

/** Reads one whole frame; `data` points into `bytes`. */
enum sip_cctalk_fault sip_cctalk_read(struct sip_cctalk_frame *frame, const uint8_t *bytes,
                                      size_t size, bool crc);

/** @return the length */
size_t sip_cctalk_write(uint8_t out[SIP_CCTALK_FRAME_MAX], const struct sip_cctalk_frame *frame,
                        bool crc);

/** For struct sip_framing. */
int sip_cctalk_look(const uint8_t *bytes, size_t size, const void *of);

struct sip_cctalk_delta {
  unsigned fresh, lost; /* events that can be read, and that cannot any more */
  bool reset, baseline;
};

/** What happened between two values of the counter of events; `last` negative: there is none. */
struct sip_cctalk_delta sip_cctalk_delta(int last, int now);

/** The value after `count`: 255 is followed by 1, 0 is that of a device that was just reset. */
uint8_t sip_cctalk_next(uint8_t count);

enum sip_cctalk_echo {
  SIP_CCTALK_ECHO_OK,         /* the echo and a frame behind it */
  SIP_CCTALK_ECHO_NO_REPLY,   /* the echo alone */
  SIP_CCTALK_ECHO_INCOMPLETE, /* its beginning, so far */
  SIP_CCTALK_ECHO_CORRUPT,
  SIP_CCTALK_ECHO_MISSING /* an answer without an echo */
};

/** What came back for `sent`; with OK, `reply` is where the frame behind the echo begins. */
enum sip_cctalk_echo sip_cctalk_echo(const uint8_t *sent, size_t sent_size, const uint8_t *came,
                                     size_t came_size, bool crc, size_t *reply);

/** As struct sip_protocol's; it takes both checks, and the simple one first. */
size_t sip_cctalk_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room);

#endif
