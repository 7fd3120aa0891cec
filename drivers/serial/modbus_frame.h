#ifndef SIP_SERIAL_MODBUS_FRAME_H
#define SIP_SERIAL_MODBUS_FRAME_H
/* modbus_frame.h - frames of Modbus RTU: address function data crc, requests and responses of the
 * functions 01 to 06, 0F and 10, and whether a response answers a request. Any thread. */
#include "serial/frame.h"

enum { SIP_MODBUS_FRAME = 264 }; /* 256 at most; a claimed length of 255 goes beyond */

enum sip_modbus_function {
  SIP_MODBUS_READ_COILS = 0x01,
  SIP_MODBUS_READ_INPUTS = 0x02,
  SIP_MODBUS_READ_HOLDING = 0x03,
  SIP_MODBUS_READ_REGISTERS = 0x04,
  SIP_MODBUS_WRITE_COIL = 0x05,
  SIP_MODBUS_WRITE_REGISTER = 0x06,
  SIP_MODBUS_WRITE_COILS = 0x0F,
  SIP_MODBUS_WRITE_REGISTERS = 0x10,
  SIP_MODBUS_REFUSED = 0x80 /* added to the function of an exception */
};

enum sip_modbus_fault {
  SIP_MODBUS_OK,
  SIP_MODBUS_SHORT,
  SIP_MODBUS_CRC,
  SIP_MODBUS_FUNCTION,  /* none of those above */
  SIP_MODBUS_LENGTH,    /* not the one of its function */
  SIP_MODBUS_VALUE,     /* of a coil: neither 0000 nor FF00 */
  SIP_MODBUS_BYTECOUNT, /* is not that of the quantity */
  /* Of a response to a request: */
  SIP_MODBUS_BAD_REQUEST,
  SIP_MODBUS_BROADCAST,  /* nobody answers, and nobody did */
  SIP_MODBUS_UNEXPECTED, /* somebody answered a broadcast */
  SIP_MODBUS_TIMEOUT,    /* nothing came */
  SIP_MODBUS_WRONG_ADDRESS,
  SIP_MODBUS_EXCEPTION,
  SIP_MODBUS_WRONG_FUNCTION,
  SIP_MODBUS_ECHO_MISMATCH,
  SIP_MODBUS_COUNT_MISMATCH,
  SIP_MODBUS_FAULTS
};

struct sip_modbus_frame {
  uint8_t address, function; /* with SIP_MODBUS_REFUSED in an exception */
  uint8_t exception;         /* 0: none */
  uint16_t start, value;     /* value: also the quantity; 0 in a response to a read */
  const uint8_t *data;       /* bits or registers; in the bytes that were read */
  size_t bytes;              /* of them */
};

extern const struct sip_framing sip_modbus_requests, sip_modbus_responses;

/** Reads a whole frame; `frame` is set as far as it could be read. */
enum sip_modbus_fault sip_modbus_read(const uint8_t *bytes, size_t size, bool request,
                                      struct sip_modbus_frame *frame);

/** Whether `response` (size 0: nothing came) answers `request`; reads it into `frame`. */
enum sip_modbus_fault sip_modbus_pair(const uint8_t *request, size_t request_size,
                                      const uint8_t *response, size_t response_size,
                                      struct sip_modbus_frame *frame);

const char *sip_modbus_fault_name(enum sip_modbus_fault fault);

/** Writes a request of functions 01 to 06, or the response to 05, 06, 0F, 10. @return 8 */
size_t sip_modbus_write(uint8_t *out, uint8_t address, uint8_t function, uint16_t start,
                        uint16_t value);

/** Writes a request of 0F or 10: `quantity` coils or registers, `data` as on the wire. */
size_t sip_modbus_write_many(uint8_t *out, uint8_t address, uint8_t function, uint16_t start,
                             uint16_t quantity, const uint8_t *data);

/** Writes the response to a read: at most 250 bytes. */
size_t sip_modbus_write_data(uint8_t *out, uint8_t address, uint8_t function, const uint8_t *data,
                             size_t bytes);

/** @return 5 */
size_t sip_modbus_write_exception(uint8_t *out, uint8_t address, uint8_t function,
                                  uint8_t exception);

/** As `describe` of a protocol. */
size_t sip_modbus_describe(const uint8_t *bytes, size_t size, bool from_host, char *text,
                           size_t room);

#endif
