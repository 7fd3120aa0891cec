#ifndef SIP_SERIAL_TELNET_H
#define SIP_SERIAL_TELNET_H
/* telnet.h - the words of RFC 2217 on a telnet connection (RFC 854), without the connection.
 *
 * Bytes FF are doubled both ways; between the data, options are agreed on and settings named. No
 * I/O; one thread at a time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { /* settings as the client names them; in the server's answers they are higher by 100 */
       SIP_TELNET_BAUD = 1,
       SIP_TELNET_BITS = 2,
       SIP_TELNET_PARITY = 3,
       SIP_TELNET_STOP = 4,
       SIP_TELNET_CONTROL = 5,
       SIP_TELNET_MODEM_STATE = 7,
       SIP_TELNET_SUSPEND = 8,
       SIP_TELNET_RESUME = 9,
       SIP_TELNET_MODEM_MASK = 11,
       SIP_TELNET_PURGE = 12
};

enum sip_telnet_state {
  SIP_TELNET_DATA,
  SIP_TELNET_COMMAND,
  SIP_TELNET_OPTION,
  SIP_TELNET_SUB,
  SIP_TELNET_SUB_COMMAND
};

struct sip_telnet {
  enum sip_telnet_state state;
  uint8_t verb;         /* before an option */
  uint8_t sub[16];      /* of a subnegotiation: what fits */
  size_t sub_size;      /* may be more than that: then it is none of ours */
  uint8_t control[256]; /* to be sent between data */
  size_t control_size;
  bool control_full;    /* something did not fit: the connection is of no more use */
  bool half;            /* of a doubled FF, one was sent */
  bool agreed, refused; /* the option of RFC 2217 */
  bool held;            /* the server asked for a pause */
  uint32_t answered;    /* bits of the settings that the server named */
  uint32_t values[8];   /* with these values */
  int modem;            /* its last MODEM_STATE, or -1 */
};

/** Says which options we want. */
void sip_telnet_begin(struct sip_telnet *telnet);

/** Asks for a setting of `size` bytes (1 or 4), the high one first. */
void sip_telnet_ask(struct sip_telnet *telnet, uint8_t setting, uint32_t value, size_t size);

/** Takes what came; the data of it is at the beginning of `bytes` then. @return how much that is */
size_t sip_telnet_take(struct sip_telnet *telnet, uint8_t *bytes, size_t size);

/** Puts data into the form that is sent; `wire` has room for twice its size. @return its size */
size_t sip_telnet_wrap(const struct sip_telnet *telnet, const uint8_t *data, size_t size,
                       uint8_t *wire);

/** `put` bytes of that were sent. @return how many bytes of the data that was */
size_t sip_telnet_sent(struct sip_telnet *telnet, const uint8_t *data, size_t size, size_t put);

/** So many bytes of `control` were sent. */
void sip_telnet_control_sent(struct sip_telnet *telnet, size_t put);

#endif
