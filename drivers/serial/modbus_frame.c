/* modbus_frame.c - frames of Modbus RTU, read, written, paired and put into words. */
#include "serial/modbus_frame.h"

#include "serial/checksum.h"

#include <stdio.h>
#include <string.h>

enum { CRC_BYTES = 2, SHORTEST = 4, COIL_ON = 0xFF00, WORDS_BITS = 16 };

/* The standard's 1.5 characters inside a frame cannot be seen through USB: 50 ms, and what an
 * adapter adds. */
enum { PAUSE_US = 66000 };

static uint16_t number(const uint8_t *bytes)
{
  return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static bool reads(uint8_t function)
{
  return function >= SIP_MODBUS_READ_COILS && function <= SIP_MODBUS_READ_REGISTERS;
}

static bool writes_many(uint8_t function)
{
  return function == SIP_MODBUS_WRITE_COILS || function == SIP_MODBUS_WRITE_REGISTERS;
}

static bool known(uint8_t function)
{
  return (function >= SIP_MODBUS_READ_COILS && function <= SIP_MODBUS_WRITE_REGISTER) ||
         writes_many(function);
}

/* The length of the frame that begins with these bytes; 0: they are too few to know, -1: none. */
static int modbus_length(const uint8_t *bytes, size_t size, bool request)
{
  uint8_t function;

  if (size < 2) {
    return 0;
  }
  function = bytes[1];
  if (!request && (function & SIP_MODBUS_REFUSED) != 0) {
    return 5;
  }
  if (!known(function)) {
    return -1;
  }
  if (request && writes_many(function)) {
    return size < 7 ? 0 : 9 + bytes[6];
  }
  if (!request && reads(function)) {
    return size < 3 ? 0 : 5 + bytes[2];
  }
  return 8;
}

static bool crc_right(const uint8_t *bytes, size_t size)
{
  uint16_t crc = sip_crc16_a001(SIP_CRC16_MODBUS, bytes, size - CRC_BYTES);

  return (crc & 0xFF) == bytes[size - 2] && crc >> 8 == bytes[size - 1];
}

static int modbus_look(const uint8_t *bytes, size_t size, bool request)
{
  int length = modbus_length(bytes, size, request);

  if (length < 0) {
    return SIP_FRAME_NOISE;
  }
  if (length == 0 || size < (size_t)length) {
    return SIP_FRAME_MORE;
  }
  return crc_right(bytes, (size_t)length) ? length : SIP_FRAME_NOISE;
}

static int look_request(const uint8_t *bytes, size_t size, const void *of)
{
  (void)of;
  return modbus_look(bytes, size, true);
}

static int look_response(const uint8_t *bytes, size_t size, const void *of)
{
  (void)of;
  return modbus_look(bytes, size, false);
}

const struct sip_framing sip_modbus_requests = { look_request, SIP_MODBUS_FRAME, PAUSE_US };
const struct sip_framing sip_modbus_responses = { look_response, SIP_MODBUS_FRAME, PAUSE_US };

static enum sip_modbus_fault read_request(const uint8_t *bytes, size_t size,
                                          struct sip_modbus_frame *frame)
{
  bool coils = frame->function == SIP_MODBUS_WRITE_COILS;

  if (!writes_many(frame->function)) {
    if (size != 8) {
      return SIP_MODBUS_LENGTH;
    }
    frame->start = number(bytes + 2);
    frame->value = number(bytes + 4);
    return frame->function == SIP_MODBUS_WRITE_COIL && frame->value != 0 && frame->value != COIL_ON
             ? SIP_MODBUS_VALUE
             : SIP_MODBUS_OK;
  }
  if (size < 9 || size != 9u + bytes[6]) {
    return SIP_MODBUS_LENGTH;
  }
  frame->start = number(bytes + 2);
  frame->value = number(bytes + 4);
  frame->data = bytes + 7;
  frame->bytes = bytes[6];
  return frame->bytes == (coils ? (frame->value + 7u) / 8 : 2u * frame->value)
           ? SIP_MODBUS_OK
           : SIP_MODBUS_BYTECOUNT;
}

static enum sip_modbus_fault read_response(const uint8_t *bytes, size_t size,
                                           struct sip_modbus_frame *frame)
{
  bool registers =
    frame->function == SIP_MODBUS_READ_HOLDING || frame->function == SIP_MODBUS_READ_REGISTERS;

  if (!reads(frame->function)) {
    if (size != 8) {
      return SIP_MODBUS_LENGTH;
    }
    frame->start = number(bytes + 2);
    frame->value = number(bytes + 4);
    return SIP_MODBUS_OK;
  }
  if (size != 5u + bytes[2]) {
    return SIP_MODBUS_LENGTH;
  }
  frame->data = bytes + 3;
  frame->bytes = bytes[2];
  return registers && frame->bytes % 2 != 0 ? SIP_MODBUS_BYTECOUNT : SIP_MODBUS_OK;
}

enum sip_modbus_fault sip_modbus_read(const uint8_t *bytes, size_t size, bool request,
                                      struct sip_modbus_frame *frame)
{
  memset(frame, 0, sizeof *frame);
  if (size < SHORTEST) {
    return SIP_MODBUS_SHORT;
  }
  if (!crc_right(bytes, size)) {
    return SIP_MODBUS_CRC;
  }
  frame->address = bytes[0];
  frame->function = bytes[1];
  if ((frame->function & SIP_MODBUS_REFUSED) != 0) {
    if (request) {
      return SIP_MODBUS_FUNCTION;
    }
    frame->exception = bytes[2];
    return size == 5 ? SIP_MODBUS_OK : SIP_MODBUS_LENGTH;
  }
  if (!known(frame->function)) {
    return SIP_MODBUS_FUNCTION;
  }
  return request ? read_request(bytes, size, frame) : read_response(bytes, size, frame);
}

enum sip_modbus_fault sip_modbus_pair(const uint8_t *request, size_t request_size,
                                      const uint8_t *response, size_t response_size,
                                      struct sip_modbus_frame *frame)
{
  struct sip_modbus_frame asked;
  enum sip_modbus_fault fault = sip_modbus_read(request, request_size, true, &asked);
  bool bits = asked.function <= SIP_MODBUS_READ_INPUTS;

  memset(frame, 0, sizeof *frame);
  if (fault != SIP_MODBUS_OK && fault != SIP_MODBUS_VALUE) { /* a board's own may be a pulse */
    return SIP_MODBUS_BAD_REQUEST;
  }
  if (asked.address == 0) {
    return response_size == 0 ? SIP_MODBUS_BROADCAST : SIP_MODBUS_UNEXPECTED;
  }
  if (response_size == 0) {
    return SIP_MODBUS_TIMEOUT;
  }
  fault = sip_modbus_read(response, response_size, false, frame);
  if (fault != SIP_MODBUS_OK) {
    return fault;
  }
  if (frame->address != asked.address) {
    return SIP_MODBUS_WRONG_ADDRESS;
  }
  if (frame->function == (asked.function | SIP_MODBUS_REFUSED)) {
    return SIP_MODBUS_EXCEPTION;
  }
  if (frame->function != asked.function) {
    return SIP_MODBUS_WRONG_FUNCTION;
  }
  if (!reads(asked.function)) {
    return frame->start == asked.start && frame->value == asked.value ? SIP_MODBUS_OK
                                                                      : SIP_MODBUS_ECHO_MISMATCH;
  }
  return frame->bytes == (bits ? (asked.value + 7u) / 8 : 2u * asked.value)
           ? SIP_MODBUS_OK
           : SIP_MODBUS_COUNT_MISMATCH;
}

const char *sip_modbus_fault_name(enum sip_modbus_fault fault)
{
  static const char *const NAMES[SIP_MODBUS_FAULTS] = {
    "ok",        "short",          "crc",           "function",       "length",  "value",
    "bytecount", "bad_request",    "broadcast",     "unexpected",     "timeout", "wrong_address",
    "exception", "wrong_function", "echo_mismatch", "count_mismatch",
  };

  return NAMES[fault];
}

static size_t modbus_seal(uint8_t *out, size_t size)
{
  uint16_t crc = sip_crc16_a001(SIP_CRC16_MODBUS, out, size);

  out[size] = (uint8_t)crc;
  out[size + 1] = (uint8_t)(crc >> 8);
  return size + CRC_BYTES;
}

static size_t modbus_head(uint8_t *out, uint8_t address, uint8_t function, uint16_t start,
                          uint16_t value)
{
  const uint8_t head[] = {
    address, function, (uint8_t)(start >> 8), (uint8_t)start, (uint8_t)(value >> 8), (uint8_t)value
  };

  memcpy(out, head, sizeof head);
  return sizeof head;
}

size_t sip_modbus_write(uint8_t *out, uint8_t address, uint8_t function, uint16_t start,
                        uint16_t value)
{
  return modbus_seal(out, modbus_head(out, address, function, start, value));
}

size_t sip_modbus_write_many(uint8_t *out, uint8_t address, uint8_t function, uint16_t start,
                             uint16_t quantity, const uint8_t *data)
{
  size_t bytes = function == SIP_MODBUS_WRITE_COILS ? (quantity + 7u) / 8 : 2u * quantity;
  size_t size = modbus_head(out, address, function, start, quantity);

  out[size++] = (uint8_t)bytes;
  memcpy(out + size, data, bytes);
  return modbus_seal(out, size + bytes);
}

size_t sip_modbus_write_data(uint8_t *out, uint8_t address, uint8_t function, const uint8_t *data,
                             size_t bytes)
{
  out[0] = address;
  out[1] = function;
  out[2] = (uint8_t)bytes;
  memcpy(out + 3, data, bytes);
  return modbus_seal(out, 3 + bytes);
}

size_t sip_modbus_write_exception(uint8_t *out, uint8_t address, uint8_t function,
                                  uint8_t exception)
{
  out[0] = address;
  out[1] = function | SIP_MODBUS_REFUSED;
  out[2] = exception;
  return modbus_seal(out, 3);
}

static const char *function_name(uint8_t function)
{
  static const char *const NAMES[] = {
    "",           "read coils",    "read inputs", "read holding registers", "read input registers",
    "write coil", "write register"
  };

  return function == SIP_MODBUS_WRITE_COILS       ? "write coils"
         : function == SIP_MODBUS_WRITE_REGISTERS ? "write registers"
                                                  : NAMES[function];
}

static void modbus_words(const struct sip_modbus_frame *frame, bool from_host, char *text,
                         size_t room)
{
  uint8_t function = frame->function & 0x7F;
  int len;

  if (frame->exception != 0 || (frame->function & SIP_MODBUS_REFUSED) != 0) {
    (void)snprintf(text, room, "%u: function %02X refused, exception %02X", frame->address,
                   function, frame->exception);
    return;
  }
  if (!from_host && frame->data != NULL) {
    len = snprintf(text, room, "%u: %s:", frame->address, function_name(function));
    for (size_t i = 0; i < frame->bytes && i < WORDS_BITS && (size_t)len < room; i++) {
      len += snprintf(text + len, room - (size_t)len, " %02X", frame->data[i]);
    }
    return;
  }
  (void)snprintf(text, room, "%u: %s %u, %s %u%s", frame->address, function_name(function),
                 frame->start, reads(function) || writes_many(function) ? "quantity" : "value",
                 frame->value, from_host ? "" : " done");
}

size_t sip_modbus_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room)
{
  struct sip_modbus_frame frame;
  int look = size == 0 ? SIP_FRAME_MORE : modbus_look(bytes, size, from_host);
  enum sip_modbus_fault fault;

  if (look == SIP_FRAME_MORE) {
    return 0;
  }
  fault = look == SIP_FRAME_NOISE ? SIP_MODBUS_CRC
                                  : sip_modbus_read(bytes, (size_t)look, from_host, &frame);
  if (fault != SIP_MODBUS_OK && fault != SIP_MODBUS_VALUE) {
    (void)snprintf(text, room, "noise");
    return 1;
  }
  modbus_words(&frame, from_host, text, room);
  return (size_t)look;
}
