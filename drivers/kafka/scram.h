#ifndef SIP_KAFKA_SCRAM_H
#define SIP_KAFKA_SCRAM_H
/* scram.h - the last word of a client in SASL/SCRAM, as RFC 5802 has it.
 *
 * librdkafka before 2.6.1 writes its own nonce twice there: once of its own, and once as the
 * beginning of the server's. Kafka refuses that from 4.0 on, as a wrong password. scram_hooks.c
 * takes the first one out of what is signed and of what is sent. Any thread. */
#include <stdbool.h>
#include <stddef.h>

enum { SIP_SCRAM_LIMIT_BYTES = 4096 }; /* of what is looked at; a longer text is none of SCRAM's */

/** Copies what is signed, without the nonce that is too much.
 *  @return the length of the copy, or 0: nothing is wrong with it, and nothing was copied */
size_t sip_scram_signed(unsigned char out[SIP_SCRAM_LIMIT_BYTES], const unsigned char *text,
                        size_t len);

/** Whether the beginning of a request is that of a SaslAuthenticate request. */
bool sip_scram_maybe(const unsigned char *request, size_t len);

/** The same for a SaslAuthenticate request with its length in front, whose lengths it sets anew. */
size_t sip_scram_request(unsigned char out[SIP_SCRAM_LIMIT_BYTES], const unsigned char *request,
                         size_t len);

#endif
