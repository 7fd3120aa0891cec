/* errors.c - one table of what librdkafka's errors mean here and what to do about them. Any thread.
 */
#include "kafka/errors.h"

#include "kafka/refusal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  rd_kafka_resp_err_t res;
  int code;
  const char *hint;
} errors_known[] = {
  { RD_KAFKA_RESP_ERR__QUEUE_FULL, SIP_EQUEUEFULL, "" },
  { RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, SIP_ETOOBIG,
    "raise message.max.bytes here with -X and max.message.bytes of the topic, or send less" },
  { RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, SIP_ETOOBIG, "lower batch.size with -X" },
  { RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, SIP_EEXISTS, "" },
  { RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, SIP_ENOTFOUND, "create it: sipeat topic create NAME" },
  { RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, SIP_ENOTFOUND, "create it: sipeat topic create NAME" },
  { RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, SIP_ENOTFOUND, "the topic has fewer partitions" },
  { RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, SIP_ENOTFOUND, "" },
  { RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, UV_EINVAL,
    "a topic's name has letters, digits, \".\", \"_\" and \"-\"" },
  { RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, UV_EINVAL, "not more copies than brokers" },
  { RD_KAFKA_RESP_ERR__INVALID_ARG, UV_EINVAL, "" },
  { RD_KAFKA_RESP_ERR__AUTHENTICATION, SIP_EAUTH,
    "check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM" },
  { RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, SIP_EAUTH,
    "check KAFKA_USERNAME and KAFKA_PASSWORD" },
  { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, SIP_EAUTH,
    "this user needs rights to the topic: Read to consume, Write to produce, Create to make it" },
  { RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, SIP_EAUTH,
    "this user needs the right to Read in the group" },
  { RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, SIP_EAUTH,
    "this user needs the right to Write to the transactional id" },
  { RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, SIP_EAUTH,
    "this user has no right to do that" },
  { RD_KAFKA_RESP_ERR__SSL, SIP_EAUTH,
    "check KAFKA_SSL_CA and that the broker's certificate names this host" },
  { RD_KAFKA_RESP_ERR__RESOLVE, SIP_EKAFKA, "check the host names in KAFKA_BROKERS" },
  { RD_KAFKA_RESP_ERR__TRANSPORT, SIP_EKAFKA, "is Kafka running there? check KAFKA_BROKERS" },
  { RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, SIP_EKAFKA,
    "is Kafka running there? check KAFKA_BROKERS" },
  { RD_KAFKA_RESP_ERR__TIMED_OUT, UV_ETIMEDOUT, "is Kafka running there? check KAFKA_BROKERS" },
  { RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, UV_ETIMEDOUT, "no broker took it in time" },
  { RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, UV_ETIMEDOUT, "" },
  { RD_KAFKA_RESP_ERR__PURGE_QUEUE, UV_ECANCELED, "" },
  { RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, UV_ECANCELED, "it may have been written" },
  { RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, UV_ENOTSUP,
    "the embedded broker has no admin requests" },
  { RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, SIP_EKAFKA,
    "the group has members with another partition.assignment.strategy; stop them first" },
  { RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, SIP_EBUSY,
    "the group has running members; stop them first" },
  { RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, SIP_EBUSY,
    "the group has running members; stop them first" },
  { RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, SIP_EFENCED,
    "another process joined with the same group.instance.id; give each one its own" },
  { RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, SIP_EKAFKA,
    "the loop was blocked; the group's partitions are taken again" },
};

static size_t errors_find(rd_kafka_resp_err_t res)
{
  size_t count = sizeof errors_known / sizeof errors_known[0];

  for (size_t i = 0; i < count; i++) {
    if (errors_known[i].res == res) {
      return i;
    }
  }
  return count;
}

int sip_kafka_err_code(rd_kafka_resp_err_t res)
{
  size_t at = errors_find(res);

  return at < sizeof errors_known / sizeof errors_known[0] ? errors_known[at].code : SIP_EKAFKA;
}

const char *sip_kafka_err_hint(rd_kafka_resp_err_t res)
{
  size_t at = errors_find(res);

  return at < sizeof errors_known / sizeof errors_known[0] ? errors_known[at].hint : "";
}

bool sip_kafka_err_is_coordinator(rd_kafka_resp_err_t res)
{
  return res == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
         res == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
         res == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

bool sip_kafka_err_is_connection(rd_kafka_resp_err_t res)
{
  switch (res) {
  case RD_KAFKA_RESP_ERR__TRANSPORT:
  case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
  case RD_KAFKA_RESP_ERR__RESOLVE:
  case RD_KAFKA_RESP_ERR__SSL:
  case RD_KAFKA_RESP_ERR__AUTHENTICATION:
  case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
  case RD_KAFKA_RESP_ERR__TIMED_OUT:
    return true;
  default:
    return false;
  }
}

static int errors_fill(struct sip_err *err, rd_kafka_resp_err_t res, const char *why,
                       const char *format, va_list args)
{
  const char *hint = why == NULL ? NULL : sip_refusal_hint(why);
  char text[256];

  if (hint == NULL || !sip_kafka_err_is_connection(res)) {
    hint = sip_kafka_err_hint(res);
  }
  (void)vsnprintf(text, sizeof text, format, args); /* a long operand is cut */
  return sip_err_named(err, sip_kafka_err_code(res), rd_kafka_err2name(res), "%s: %s%s%s%s", text,
                       why != NULL && why[0] != '\0' ? why : rd_kafka_err2str(res),
                       hint[0] == '\0' ? "" : " (", hint, hint[0] == '\0' ? "" : ")");
}

int sip_kafka_err(struct sip_err *err, rd_kafka_resp_err_t res, const char *why, const char *format,
                  ...)
{
  va_list args;
  int rc;

  va_start(args, format);
  rc = errors_fill(err, res, why, format, args);
  va_end(args);
  return rc;
}

int sip_kafka_err_object(struct sip_err *err, rd_kafka_error_t *error, const char *format, ...)
{
  va_list args;
  int rc;

  va_start(args, format);
  rc = errors_fill(err, rd_kafka_error_code(error), rd_kafka_error_string(error), format, args);
  va_end(args);
  rd_kafka_error_destroy(error);
  return rc;
}

bool sip_kafka_is_embedded(rd_kafka_t *rk, int timeout_ms)
{
  char *cluster = rd_kafka_clusterid(rk, timeout_ms);
  bool embedded = cluster != NULL && strncmp(cluster, "mockCluster", 11) == 0;

  if (cluster != NULL) {
    rd_kafka_mem_free(rk, cluster);
  }
  return embedded;
}
