/* admin_groups.c - groups: which there are, and where they stand. Blocks; one thread at a time. */
#include "kafka/admin_state.h"
#include "kafka/errors.h"

#include <stdlib.h>
#include <string.h>

enum { GROUPS_AGAIN_MS = 200 };

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

/* A broker that has just started, or has just got them, loads what its groups committed. */
static rd_kafka_resp_err_t groups_ask(struct sip_kafka_admin *admin, const char *name,
                                      const struct rd_kafka_group_list **out)
{
  rd_kafka_resp_err_t res;

  for (int waited_ms = 0;; waited_ms += GROUPS_AGAIN_MS) {
    res = rd_kafka_list_groups(admin->rk, name, out, admin->timeout_ms);
    if (*out != NULL || waited_ms >= admin->timeout_ms || !sip_kafka_err_is_coordinator(res)) {
      return res;
    }
    uv_sleep(GROUPS_AGAIN_MS);
  }
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
    res = groups_ask(admin, name, &known);
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

int sip_kafka_admin_groups_named(struct sip_kafka_admin *admin, char *const *names, size_t count,
                                 struct sip_kafka_group_list **out, struct sip_err *err)
{
  struct sip_kafka_group_list *list = calloc(1, sizeof *list), *one = NULL;
  int rc = 0;

  if (list != NULL) {
    list->groups = calloc(count + 1, sizeof *list->groups);
  }
  if (list == NULL || list->groups == NULL) {
    sip_kafka_group_list_free(list);
    return sip_err_set(err, UV_ENOMEM, "list groups: out of memory");
  }
  for (size_t i = 0; rc == 0 && i < count; i++) {
    rc = sip_kafka_admin_groups(admin, names[i], &one, err);
    if (rc == 0) {
      list->groups[list->count++] = one->groups[0];
      one->count = 0; /* handed over */
      sip_kafka_group_list_free(one);
    }
  }
  if (rc < 0) {
    sip_kafka_group_list_free(list);
    return rc;
  }
  *out = list;
  return 0;
}

rd_kafka_topic_partition_list_t *sip_admin_partitions(struct sip_kafka_admin *admin,
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
  rd_kafka_topic_partition_list_sort(list, NULL, NULL);
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

int sip_admin_committed(struct sip_kafka_admin *admin, const char *group,
                        rd_kafka_topic_partition_list_t *list, struct sip_err *err)
{
  rd_kafka_ListConsumerGroupOffsets_t *request;
  const rd_kafka_group_result_t **results;
  rd_kafka_AdminOptions_t *options;
  rd_kafka_event_t *event;
  size_t count = 0;
  int rc = 0;

  if (list->cnt == 0) {
    return 0;
  }
  request = rd_kafka_ListConsumerGroupOffsets_new(group, list);
  options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
  (void)rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, NULL, 0);
  rd_kafka_ListConsumerGroupOffsets(admin->rk, &request, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_ListConsumerGroupOffsets_destroy(request);
  event = sip_admin_wait(admin, "offsets of group", group, err);
  if (event == NULL) {
    return err->code;
  }
  results = rd_kafka_ListConsumerGroupOffsets_result_groups(
    rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
  if (count == 1 && rd_kafka_group_result_error(results[0]) != NULL) {
    const rd_kafka_error_t *failed = rd_kafka_group_result_error(results[0]);

    rc = sip_admin_err(admin, err, rd_kafka_error_code(failed), rd_kafka_error_string(failed),
                       "offsets of group", group);
  } else if (count == 1) {
    const rd_kafka_topic_partition_list_t *found = rd_kafka_group_result_partitions(results[0]);

    sip_admin_take_offsets(list, found);
  }
  rd_kafka_event_destroy(event);
  return rc;
}

static int offsets_add(struct sip_kafka_offset_list *list, const rd_kafka_topic_partition_t *from,
                       const struct sip_admin_range *range)
{
  struct sip_kafka_offset_info *info = &list->offsets[list->count];

  info->topic = strdup(from->topic);
  if (info->topic == NULL) {
    return UV_ENOMEM;
  }
  list->count++;
  info->partition = from->partition;
  info->committed = from->offset < 0 ? -1 : from->offset;
  info->low = range->low;
  info->high = range->high;
  info->target = -1;
  if (info->high >= 0) {
    int64_t at = info->committed < info->low ? info->low : info->committed;

    info->lag = info->high > at ? info->high - at : 0;
  }
  return 0;
}

static struct sip_kafka_offset_list *offsets_new(int room)
{
  struct sip_kafka_offset_list *list = calloc(1, sizeof *list);

  if (list != NULL) {
    list->offsets = calloc((size_t)room + 1, sizeof *list->offsets);
  }
  if (list == NULL || list->offsets == NULL) {
    free(list);
    return NULL;
  }
  return list;
}

/* Turns committed offsets into what the caller sees: all partitions with `all`, else those of the
 * topics that the group knows. */
static struct sip_kafka_offset_list *offsets_of(const rd_kafka_topic_partition_list_t *committed,
                                                const struct sip_admin_range *ranges, bool all)
{
  struct sip_kafka_offset_list *list = offsets_new(committed->cnt);
  const char *last = "";
  bool known = false;

  for (int i = 0; list != NULL && i < committed->cnt; i++) { /* by topic: each is looked up once */
    const rd_kafka_topic_partition_t *from = &committed->elems[i];

    if (strcmp(last, from->topic) != 0) {
      last = from->topic;
      known = all || group_knows(committed, last);
    }
    if (known && offsets_add(list, from, &ranges[i]) < 0) {
      sip_kafka_offset_list_free(list);
      return NULL;
    }
  }
  return list;
}

int sip_admin_report(struct sip_kafka_admin *admin,
                     const rd_kafka_topic_partition_list_t *committed, bool all,
                     struct sip_kafka_offset_list **out, struct sip_err *err)
{
  struct sip_admin_range *ranges = sip_admin_ranges(admin, committed);
  struct sip_kafka_offset_list *list = ranges == NULL ? NULL : offsets_of(committed, ranges, all);

  free(ranges);
  if (list == NULL) {
    return sip_err_set(err, UV_ENOMEM, "group offsets: out of memory");
  }
  *out = list;
  return 0;
}

void sip_kafka_offset_lists_free(struct sip_kafka_offset_list **lists, size_t count)
{
  for (size_t i = 0; lists != NULL && i < count; i++) {
    sip_kafka_offset_list_free(lists[i]);
  }
  free(lists);
}

/* Keeps the partitions whose topic one of the groups knows. */
static rd_kafka_topic_partition_list_t *lists_used(rd_kafka_topic_partition_list_t **lists,
                                                   size_t count,
                                                   const rd_kafka_topic_partition_list_t *all)
{
  rd_kafka_topic_partition_list_t *used = rd_kafka_topic_partition_list_new(all->cnt);

  for (int i = 0; i < all->cnt; i++) {
    bool known =
      i > 0 && used->cnt > 0 && strcmp(used->elems[used->cnt - 1].topic, all->elems[i].topic) == 0;

    for (size_t g = 0; !known && g < count; g++) {
      known = group_knows(lists[g], all->elems[i].topic);
    }
    if (known) {
      rd_kafka_topic_partition_list_add(used, all->elems[i].topic, all->elems[i].partition);
    }
  }
  return used;
}

static int lists_report(struct sip_kafka_admin *admin, rd_kafka_topic_partition_list_t **lists,
                        size_t count, const rd_kafka_topic_partition_list_t *all,
                        struct sip_kafka_offset_list **out)
{
  rd_kafka_topic_partition_list_t *used = lists_used(lists, count, all);
  struct sip_admin_range *ranges = sip_admin_ranges(admin, used);
  int rc = ranges == NULL ? UV_ENOMEM : 0;

  for (size_t g = 0; rc == 0 && g < count; g++) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(used);

    sip_admin_take_offsets(list, lists[g]);
    out[g] = offsets_of(list, ranges, false);
    rd_kafka_topic_partition_list_destroy(list);
    rc = out[g] == NULL ? UV_ENOMEM : 0;
  }
  free(ranges);
  rd_kafka_topic_partition_list_destroy(used);
  return rc;
}

int sip_kafka_admin_group_offsets(struct sip_kafka_admin *admin,
                                  const struct sip_kafka_group_list *groups,
                                  struct sip_kafka_offset_list ***out, struct sip_err *err)
{
  rd_kafka_topic_partition_list_t **lists = calloc(groups->count + 1, sizeof *lists);
  struct sip_kafka_offset_list **found = calloc(groups->count + 1, sizeof *found);
  rd_kafka_topic_partition_list_t *all = NULL;
  struct sip_err local;
  size_t count = 0;
  int rc = 0;

  err = err == NULL ? &local : err;
  if (lists == NULL || found == NULL) {
    rc = sip_err_set(err, UV_ENOMEM, "group offsets: out of memory");
    goto cleanup;
  }
  all = sip_admin_partitions(admin, NULL, err);
  if (all == NULL) {
    rc = err->code;
    goto cleanup;
  }
  while (rc == 0 && count < groups->count) {
    lists[count] = rd_kafka_topic_partition_list_copy(all);
    rc = sip_admin_committed(admin, groups->groups[count].name, lists[count], err);
    count++;
  }
  if (rc == 0 && lists_report(admin, lists, count, all, found) < 0) {
    rc = sip_err_set(err, UV_ENOMEM, "group offsets: out of memory");
  }
  if (rc == 0) {
    *out = found;
    found = NULL; /* handed over */
  }
cleanup:
  for (size_t i = 0; i < count; i++) {
    rd_kafka_topic_partition_list_destroy(lists[i]);
  }
  free(lists);
  sip_kafka_offset_lists_free(found, groups->count);
  if (all != NULL) {
    rd_kafka_topic_partition_list_destroy(all);
  }
  return rc;
}
