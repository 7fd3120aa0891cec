#ifndef SIP_KAFKA_PACE_H
#define SIP_KAFKA_PACE_H
/* pace.h - how long librdkafka's threads wait for a broker. */

/** Tells them that records were taken from a consumer's queue, so that there may be room for more.
 *  Any thread. */
void sip_kafka_took(void);

#endif
