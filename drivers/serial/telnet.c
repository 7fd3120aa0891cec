/* telnet.c - RFC 2217's words: what we ask for, and what the server says. */
#include "serial/telnet.h"

#include <string.h>

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };
enum { BINARY = 0, SUPPRESS_GO_AHEAD = 3, COM_PORT = 44, SERVER = 100 };

/* --- what we say --- */

static void control_add(struct sip_telnet *telnet, const uint8_t *bytes, size_t size)
{
  if (telnet->control_size + size > sizeof telnet->control) {
    telnet->control_full = true;
    return;
  }
  memcpy(telnet->control + telnet->control_size, bytes, size);
  telnet->control_size += size;
}

static void say(struct sip_telnet *telnet, uint8_t verb, uint8_t option)
{
  uint8_t bytes[] = { IAC, verb, option };

  control_add(telnet, bytes, sizeof bytes);
}

void sip_telnet_begin(struct sip_telnet *telnet)
{
  memset(telnet, 0, sizeof *telnet);
  telnet->modem = -1;
  say(telnet, WILL, COM_PORT);
  say(telnet, WILL, BINARY);
  say(telnet, DO, BINARY);
  say(telnet, WILL, SUPPRESS_GO_AHEAD);
  say(telnet, DO, SUPPRESS_GO_AHEAD);
}

void sip_telnet_ask(struct sip_telnet *telnet, uint8_t setting, uint32_t value, size_t size)
{
  uint8_t bytes[4 + 2 * 4 + 2] = { IAC, SB, COM_PORT, setting };
  size_t n = 4;

  for (size_t i = size; i > 0; i--) {
    bytes[n] = (uint8_t)(value >> (8 * (i - 1)));
    if (bytes[n++] == IAC) {
      bytes[n++] = IAC;
    }
  }
  bytes[n++] = IAC;
  bytes[n++] = SE;
  control_add(telnet, bytes, n);
}

void sip_telnet_control_sent(struct sip_telnet *telnet, size_t put)
{
  telnet->control_size -= put;
  memmove(telnet->control, telnet->control + put, telnet->control_size);
}

/* How many bytes are sent for one of data; of the first one, half may have left. */
static size_t width_of(const struct sip_telnet *telnet, const uint8_t *data, size_t i)
{
  return data[i] == IAC && !(i == 0 && telnet->half) ? 2 : 1;
}

size_t sip_telnet_wrap(const struct sip_telnet *telnet, const uint8_t *data, size_t size,
                       uint8_t *wire)
{
  size_t n = 0;

  for (size_t i = 0; i < size; i++) {
    if (width_of(telnet, data, i) == 2) {
      wire[n++] = IAC;
    }
    wire[n++] = data[i];
  }
  return n;
}

size_t sip_telnet_sent(struct sip_telnet *telnet, const uint8_t *data, size_t size, size_t put)
{
  size_t used = 0, taken = 0;

  if (put == 0) {
    return 0;
  }
  while (taken < size && used + width_of(telnet, data, taken) <= put) {
    used += width_of(telnet, data, taken);
    taken++;
  }
  telnet->half = used < put;
  return taken;
}

/* --- what the server says --- */

static void on_option(struct sip_telnet *telnet, uint8_t option)
{
  bool ours = option == BINARY || option == SUPPRESS_GO_AHEAD;

  if (option == COM_PORT && (telnet->verb == DO || telnet->verb == DONT)) {
    telnet->agreed = telnet->verb == DO;
    telnet->refused = telnet->verb == DONT;
  } else if (telnet->verb == DO && !ours) {
    say(telnet, WONT, option);
  } else if (telnet->verb == WILL && !ours && option != COM_PORT) {
    say(telnet, DONT, option);
  }
}

static void on_sub(struct sip_telnet *telnet)
{
  uint32_t value = 0;
  unsigned setting;

  if (telnet->sub_size < 2 || telnet->sub_size > sizeof telnet->sub || telnet->sub[0] != COM_PORT ||
      telnet->sub[1] < SERVER) {
    return;
  }
  setting = telnet->sub[1] - (unsigned)SERVER;
  for (size_t i = 2; i < telnet->sub_size; i++) {
    value = value << 8 | telnet->sub[i];
  }
  if (setting == SIP_TELNET_SUSPEND || setting == SIP_TELNET_RESUME) {
    telnet->held = setting == SIP_TELNET_SUSPEND;
  } else if (setting == SIP_TELNET_MODEM_STATE) {
    telnet->modem = (int)(value & 0xFF);
  } else if (setting >= SIP_TELNET_BAUD && setting <= SIP_TELNET_CONTROL) {
    telnet->values[setting] = value;
    telnet->answered |= 1u << setting;
  }
}

static void sub_add(struct sip_telnet *telnet, uint8_t byte)
{
  if (telnet->sub_size < sizeof telnet->sub) {
    telnet->sub[telnet->sub_size] = byte;
  }
  telnet->sub_size += telnet->sub_size <= sizeof telnet->sub;
}

static void on_command(struct sip_telnet *telnet, uint8_t byte)
{
  telnet->state = SIP_TELNET_DATA;
  if (byte >= WILL) {
    telnet->verb = byte;
    telnet->state = SIP_TELNET_OPTION;
  } else if (byte == SB) {
    telnet->sub_size = 0;
    telnet->state = SIP_TELNET_SUB;
  }
}

static void in_sub(struct sip_telnet *telnet, uint8_t byte)
{
  if (telnet->state == SIP_TELNET_SUB) {
    if (byte == IAC) {
      telnet->state = SIP_TELNET_SUB_COMMAND;
    } else {
      sub_add(telnet, byte);
    }
    return;
  }
  telnet->state = byte == SE ? SIP_TELNET_DATA : SIP_TELNET_SUB;
  if (byte == SE) {
    on_sub(telnet);
  } else if (byte == IAC) {
    sub_add(telnet, byte);
  }
}

/* Takes one byte. @return whether it is data */
static bool take(struct sip_telnet *telnet, uint8_t byte)
{
  switch (telnet->state) {
  case SIP_TELNET_DATA:
    telnet->state = byte == IAC ? SIP_TELNET_COMMAND : SIP_TELNET_DATA;
    return byte != IAC;
  case SIP_TELNET_COMMAND:
    if (byte == IAC) {
      telnet->state = SIP_TELNET_DATA;
      return true;
    }
    on_command(telnet, byte);
    return false;
  case SIP_TELNET_OPTION:
    telnet->state = SIP_TELNET_DATA;
    on_option(telnet, byte);
    return false;
  default:
    in_sub(telnet, byte);
    return false;
  }
}

size_t sip_telnet_take(struct sip_telnet *telnet, uint8_t *bytes, size_t size)
{
  size_t kept = 0;

  for (size_t i = 0; i < size; i++) {
    uint8_t byte = bytes[i];

    if (take(telnet, byte)) {
      bytes[kept++] = byte;
    }
  }
  return kept;
}
