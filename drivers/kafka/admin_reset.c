/* admin_reset.c - moving groups. Blocks; one thread at a time.
 *
 * Committed offsets are written through a client with the group's name that does not join it, which
 * works on every broker. Only librdkafka's mock cluster refuses that once a group has had members;
 * there the client joins for a moment. */
#include "kafka/admin_state.h"
#include "kafka/errors.h"

#include <stdlib.h>

enum { GROUP_POLL_MS = 100 };

/* Where it goes within what the topic has. */
static int64_t group_target(enum sip_kafka_reset_to to, int64_t wanted,
                            const struct sip_admin_range *range)
{
  if (to == SIP_RESET_BEGINNING || (to != SIP_RESET_END && wanted >= 0 && wanted < range->low)) {
    return range->low;
  }
  if (to == SIP_RESET_END || wanted < 0 || wanted > range->high) {
    return range->high; /* a time after the last record gives a negative offset */
  }
  return wanted;
}

/* Puts where the group shall go into the offsets of `list`. */
static int group_aim(struct sip_kafka_admin *admin, rd_kafka_topic_partition_list_t *list,
                     enum sip_kafka_reset_to to, int64_t value, struct sip_err *err)
{
  struct sip_admin_range *ranges = sip_admin_ranges(admin, list);
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;

  if (ranges == NULL) {
    return sip_err_set(err, UV_ENOMEM, "reset group: out of memory");
  }
  if (to == SIP_RESET_TIME) {
    res = sip_admin_offsets_for(admin, list, value);
  }
  for (int i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
    rd_kafka_topic_partition_t *at = &list->elems[i];

    res = to == SIP_RESET_TIME ? at->err : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (ranges[i].high < 0) {
      free(ranges);
      return sip_admin_err(admin, err, RD_KAFKA_RESP_ERR__TIMED_OUT,
                           "a partition's offsets cannot be read", "reset group on", at->topic);
    }
    at->offset = group_target(to, to == SIP_RESET_TIME ? at->offset : value, &ranges[i]);
  }
  free(ranges);
  return res == RD_KAFKA_RESP_ERR_NO_ERROR
           ? 0
           : sip_admin_err(admin, err, res, NULL, "reset group", NULL);
}

int sip_kafka_admin_reset_plan(struct sip_kafka_admin *admin, const char *group, const char *topic,
                               enum sip_kafka_reset_to to, int64_t value,
                               struct sip_kafka_offset_list **out, struct sip_err *err)
{
  struct sip_kafka_offset_list *plan = NULL;
  rd_kafka_topic_partition_list_t *list;
  struct sip_err local;
  int rc;

  err = err == NULL ? &local : err;
  list = sip_admin_partitions(admin, topic, err);
  if (list == NULL) {
    return err->code;
  }
  rc = sip_admin_committed(admin, group, list, err);
  if (rc == 0) {
    rc = sip_admin_report(admin, list, true, &plan, err);
  }
  if (rc == 0) {
    rc = group_aim(admin, list, to, value, err);
  }
  for (int i = 0; rc == 0 && i < list->cnt; i++) { /* in the same order */
    plan->offsets[i].target = list->elems[i].offset;
  }
  rd_kafka_topic_partition_list_destroy(list);
  if (rc < 0) {
    sip_kafka_offset_list_free(plan);
    return rc;
  }
  *out = plan;
  return 0;
}

/* Joins the group alone and commits as its member. `joined`: it got an assignment. */
static rd_kafka_resp_err_t group_commit_as_member(struct sip_kafka_admin *admin, rd_kafka_t *rk,
                                                  rd_kafka_topic_partition_list_t *list,
                                                  bool *joined)
{
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1), *assigned = NULL;
  rd_kafka_resp_err_t res;
  int count = 0;

  rd_kafka_topic_partition_list_add(topics, list->elems[0].topic, RD_KAFKA_PARTITION_UA);
  res = rd_kafka_subscribe(rk, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  for (int waited_ms = 0;
       res == RD_KAFKA_RESP_ERR_NO_ERROR && count == 0 && waited_ms < 2 * admin->timeout_ms;
       waited_ms += GROUP_POLL_MS) {
    rd_kafka_message_t *message =
      rd_kafka_consumer_poll(rk, GROUP_POLL_MS); /* nothing of it is committed */

    if (message != NULL) {
      rd_kafka_message_destroy(message);
    }
    res = rd_kafka_assignment(rk, &assigned);
    if (res == RD_KAFKA_RESP_ERR_NO_ERROR) {
      count = assigned->cnt;
      rd_kafka_topic_partition_list_destroy(assigned);
    }
  }
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR && count < list->cnt) {
    res = RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP; /* somebody else has the rest */
  }
  if (res == RD_KAFKA_RESP_ERR_NO_ERROR) {
    res = rd_kafka_commit(rk, list, 0);
  }
  (void)rd_kafka_consumer_close(rk); /* what was committed stays */
  *joined = count > 0;
  return res;
}

static rd_kafka_resp_err_t group_commit(struct sip_kafka_admin *admin, rd_kafka_t *rk,
                                        rd_kafka_topic_partition_list_t *list, bool *joined)
{
  rd_kafka_resp_err_t res = rd_kafka_commit(rk, list, 0);

  if (res == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID &&
      sip_kafka_is_embedded(admin->rk, admin->timeout_ms)) {
    res = group_commit_as_member(admin, rk, list, joined);
  }
  return res;
}

int sip_kafka_admin_reset_group(struct sip_kafka_admin *admin, const char *group, const char *topic,
                                enum sip_kafka_reset_to to, int64_t value,
                                struct sip_kafka_offset_list **out, struct sip_err *err)
{
  rd_kafka_topic_partition_list_t *list = NULL;
  rd_kafka_resp_err_t res;
  rd_kafka_t *rk = NULL;
  bool joined = true; /* or never tried to */
  struct sip_err local;
  int rc;

  err = err == NULL ? &local : err;
  list = sip_admin_partitions(admin, topic, err);
  if (list != NULL) {
    rk = sip_admin_client(admin, group, err);
  }
  if (rk == NULL) {
    rc = err->code;
    goto cleanup;
  }
  rc = group_aim(admin, list, to, value, err);
  if (rc < 0) {
    goto cleanup;
  }
  res = group_commit(admin, rk, list, &joined);
  if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    rc = sip_admin_err(admin, err, res, NULL, "reset group", group);
  } else if (out != NULL) {
    rc = sip_admin_report(admin, list, false, out, err);
  }
cleanup:
  if (list != NULL) {
    rd_kafka_topic_partition_list_destroy(list);
  }
  if (rk != NULL && joined) { /* librdkafka before 2.3 aborts otherwise (4312): it is left alone */
    rd_kafka_destroy_flags(rk,
                           RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it has left, or never joined */
  }
  return rc;
}
