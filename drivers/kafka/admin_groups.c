/* admin_groups.c - groups: who is in them, where they stand, and moving them. Blocks; one thread at
 * a time.
 *
 * Committed offsets are read and written through a client with the group's name that does not join
 * it, which works on every broker. Only librdkafka's mock cluster refuses the writing once a group
 * has had members; there the client joins for a moment. */
#include "kafka/admin_state.h"
#include "kafka/errors.h"

#include <stdlib.h>
#include <string.h>

enum { GROUP_POLL_MS = 100 };

void sip_kafka_group_list_free(struct sip_kafka_group_list *list)
{
  if (list == NULL) {
    return;
  }
  for (size_t i = 0; i < list->count; i++) {
    free(list->groups[i].name);
    free(list->groups[i].state);
  }
  free(list->groups);
  free(list);
}

void sip_kafka_offset_list_free(struct sip_kafka_offset_list *list)
{
  if (list == NULL) {
    return;
  }
  for (size_t i = 0; i < list->count; i++) {
    free(list->offsets[i].topic);
  }
  free(list->offsets);
  free(list);
}

static int group_compare(const void *a, const void *b)
{
  return strcmp(((const struct sip_kafka_group_info *)a)->name,
                ((const struct sip_kafka_group_info *)b)->name);
}

static int group_add(struct sip_kafka_group_list *list, const char *name, const char *state,
                     int members)
{
  struct sip_kafka_group_info *info = &list->groups[list->count++];

  info->name = strdup(name);
  info->state = strdup(state);
  info->members = members < 0 ? 0 : (size_t)members;
  return info->name == NULL || info->state == NULL ? UV_ENOMEM : 0;
}

int sip_kafka_admin_groups(struct sip_kafka_admin *admin, const char *name,
                           struct sip_kafka_group_list **out, struct sip_err *err)
{
  const struct rd_kafka_group_list *known = NULL;
  bool blind = sip_kafka_is_embedded(admin->rk, admin->timeout_ms);
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
  struct sip_kafka_group_list *list;
  int rc = 0;

  if (blind && name == NULL) {
    return sip_kafka_err(err, res, "this broker cannot list them; name one", "list groups");
  }
  if (!blind) {
    res = rd_kafka_list_groups(admin->rk, name, &known, admin->timeout_ms);
  }
  if (known == NULL && !blind) {
    return sip_admin_err(admin, err, res, NULL, "list groups", NULL);
  }
  list = calloc(1, sizeof *list);
  if (list != NULL) {
    list->groups = calloc(known == NULL ? 1 : (size_t)known->group_cnt + 1, sizeof *list->groups);
  }
  if (list == NULL || list->groups == NULL) {
    rc = UV_ENOMEM;
  }
  for (int i = 0; rc == 0 && known != NULL && i < known->group_cnt; i++) {
    rc =
      group_add(list, known->groups[i].group, known->groups[i].state, known->groups[i].member_cnt);
  }
  if (known != NULL) {
    rd_kafka_group_list_destroy(known);
  }
  if (rc == 0 && name != NULL && list->count == 0) {
    rc = group_add(list, name, blind ? "unknown" : "Dead", 0);
  }
  if (rc < 0) {
    sip_kafka_group_list_free(list);
    return sip_err_set(err, rc, "list groups: out of memory");
  }
  qsort(list->groups, list->count, sizeof *list->groups, group_compare);
  *out = list;
  return 0;
}

/* The partitions of `topics` (of all but Kafka's own with `topic` NULL). NULL with `err`. */
static rd_kafka_topic_partition_list_t *group_partitions(struct sip_kafka_admin *admin,
                                                         const char *topic, struct sip_err *err)
{
  struct sip_kafka_topic_list *topics = NULL;
  rd_kafka_topic_partition_list_t *list;

  if (sip_kafka_admin_topics(admin, topic, false, &topics, err) < 0) {
    return NULL;
  }
  list = rd_kafka_topic_partition_list_new(16);
  for (size_t i = 0; i < topics->count; i++) {
    if (strncmp(topics->topics[i].name, "__", 2) == 0) {
      continue;
    }
    for (size_t p = 0; p < topics->topics[i].partition_count; p++) {
      rd_kafka_topic_partition_list_add(list, topics->topics[i].name,
                                        topics->topics[i].partitions[p].id);
    }
  }
  sip_kafka_topic_list_free(topics);
  return list;
}

/* Whether the group has a committed offset anywhere in that topic. */
static bool group_knows(const rd_kafka_topic_partition_list_t *list, const char *topic)
{
  for (int i = 0; i < list->cnt; i++) {
    if (list->elems[i].offset >= 0 && strcmp(list->elems[i].topic, topic) == 0) {
      return true;
    }
  }
  return false;
}

/* Turns committed offsets into what the caller sees. */
static int group_report(struct sip_kafka_admin *admin,
                        const rd_kafka_topic_partition_list_t *committed,
                        struct sip_kafka_offset_list **out, struct sip_err *err)
{
  struct sip_kafka_offset_list *list = calloc(1, sizeof *list);

  if (list != NULL) {
    list->offsets = calloc((size_t)committed->cnt + 1, sizeof *list->offsets);
  }
  if (list == NULL || list->offsets == NULL) {
    free(list);
    return sip_err_set(err, UV_ENOMEM, "group offsets: out of memory");
  }
  for (int i = 0; i < committed->cnt; i++) {
    const rd_kafka_topic_partition_t *from = &committed->elems[i];
    struct sip_kafka_offset_info *info = &list->offsets[list->count];

    if (!group_knows(committed, from->topic)) {
      continue;
    }
    info->topic = strdup(from->topic);
    if (info->topic == NULL) {
      sip_kafka_offset_list_free(list);
      return sip_err_set(err, UV_ENOMEM, "group offsets: out of memory");
    }
    list->count++;
    info->partition = from->partition;
    info->committed = from->offset < 0 ? -1 : from->offset;
    sip_admin_watermarks(admin, from->topic, from->partition, &info->low, &info->high);
    if (info->high >= 0) {
      int64_t at = info->committed < info->low ? info->low : info->committed;

      info->lag = info->high > at ? info->high - at : 0;
    }
  }
  *out = list;
  return 0;
}

int sip_kafka_admin_group_offsets(struct sip_kafka_admin *admin, const char *group,
                                  struct sip_kafka_offset_list **out, struct sip_err *err)
{
  rd_kafka_topic_partition_list_t *list = NULL;
  rd_kafka_t *rk = NULL;
  rd_kafka_resp_err_t res;
  struct sip_err local;
  int rc;

  err = err == NULL ? &local : err;
  list = group_partitions(admin, NULL, err);
  if (list != NULL) {
    rk = sip_admin_client(admin, group, err);
  }
  if (rk == NULL) {
    rc = err->code;
    goto cleanup;
  }
  rd_kafka_topic_partition_list_sort(list, NULL, NULL);
  res =
    list->cnt == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_committed(rk, list, admin->timeout_ms);
  rc = res == RD_KAFKA_RESP_ERR_NO_ERROR
         ? group_report(admin, list, out, err)
         : sip_admin_err(admin, err, res, NULL, "offsets of group", group);
cleanup:
  if (list != NULL) {
    rd_kafka_topic_partition_list_destroy(list);
  }
  if (rk != NULL) {
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it never joined */
  }
  return rc;
}

/* Puts where the group shall go into the offsets of `list`. */
static int group_aim(struct sip_kafka_admin *admin, rd_kafka_topic_partition_list_t *list,
                     enum sip_kafka_reset_to to, int64_t value, struct sip_err *err)
{
  rd_kafka_resp_err_t res = RD_KAFKA_RESP_ERR_NO_ERROR;

  for (int i = 0; i < list->cnt; i++) {
    list->elems[i].offset = value; /* what offsets_for_times reads, and the offset itself */
  }
  if (to == SIP_RESET_TIME) {
    res = rd_kafka_offsets_for_times(admin->rk, list, admin->timeout_ms);
  }
  for (int i = 0; res == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++) {
    rd_kafka_topic_partition_t *at = &list->elems[i];
    int64_t low, high;

    res = at->err;
    sip_admin_watermarks(admin, at->topic, at->partition, &low, &high);
    if (high < 0) {
      return sip_admin_err(admin, err, RD_KAFKA_RESP_ERR__TIMED_OUT,
                           "a partition's offsets cannot be read", "reset group on", at->topic);
    }
    if (to == SIP_RESET_BEGINNING || at->offset < 0 || at->offset > high) {
      at->offset = to == SIP_RESET_BEGINNING
                     ? low
                     : high; /* a time after the last record gives a negative offset */
    }
    if (to == SIP_RESET_END) {
      at->offset = high;
    } else if (at->offset < low) {
      at->offset = low;
    }
  }
  return res == RD_KAFKA_RESP_ERR_NO_ERROR
           ? 0
           : sip_admin_err(admin, err, res, NULL, "reset group", NULL);
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
  list = group_partitions(admin, topic, err);
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
    rc = group_report(admin, list, out, err);
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
