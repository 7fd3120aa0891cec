/* admin_describe.c - what a cluster says of itself: its brokers, configurations, and who is in a
 * group. Blocks; one thread at a time. */
#include "kafka/admin_state.h"
#include "kafka/errors.h"

#include <stdlib.h>
#include <string.h>

static int not_embedded(struct sip_kafka_admin *admin, const char *what, const char *name,
                        struct sip_err *err)
{
  if (!sip_kafka_is_embedded(admin->rk, admin->timeout_ms)) {
    return 0;
  }
  return sip_kafka_err(err, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, NULL, "%s %s", what, name);
}

/* --- brokers --- */

void sip_kafka_cluster_free(struct sip_kafka_cluster *cluster)
{
  if (cluster == NULL) {
    return;
  }
  for (size_t i = 0; i < cluster->count; i++) {
    free(cluster->brokers[i].host);
  }
  free(cluster->brokers);
  free(cluster->id);
  free(cluster);
}

static int broker_compare(const void *a, const void *b)
{
  const struct sip_kafka_broker *x = a, *y = b;

  return (x->id > y->id) - (x->id < y->id);
}

static struct sip_kafka_broker *broker_find(struct sip_kafka_cluster *cluster, int32_t id)
{
  struct sip_kafka_broker key = { .id = id };

  return bsearch(&key, cluster->brokers, cluster->count, sizeof key, broker_compare);
}

static void partition_count(struct sip_kafka_cluster *cluster,
                            const struct rd_kafka_metadata_partition *partition)
{
  struct sip_kafka_broker *broker = broker_find(cluster, partition->leader);

  if (broker != NULL) {
    broker->leaders++;
  }
  for (int i = 0; i < partition->replica_cnt; i++) {
    broker = broker_find(cluster, partition->replicas[i]);
    if (broker != NULL) {
      broker->replicas++;
    }
  }
}

static int cluster_fill(struct sip_kafka_cluster *cluster, const struct rd_kafka_metadata *from)
{
  cluster->brokers = calloc((size_t)from->broker_cnt + 1, sizeof *cluster->brokers);
  if (cluster->brokers == NULL) {
    return UV_ENOMEM;
  }
  for (int i = 0; i < from->broker_cnt; i++) {
    struct sip_kafka_broker *broker = &cluster->brokers[cluster->count++];

    broker->id = from->brokers[i].id;
    broker->host = strdup(from->brokers[i].host);
    broker->port = from->brokers[i].port;
    if (broker->host == NULL) {
      return UV_ENOMEM;
    }
  }
  qsort(cluster->brokers, cluster->count, sizeof *cluster->brokers, broker_compare);
  for (int t = 0; t < from->topic_cnt; t++) {
    for (int p = 0; p < from->topics[t].partition_cnt; p++) {
      partition_count(cluster, &from->topics[t].partitions[p]);
    }
  }
  return 0;
}

int sip_kafka_admin_cluster(struct sip_kafka_admin *admin, struct sip_kafka_cluster **out,
                            struct sip_err *err)
{
  const struct rd_kafka_metadata *metadata = NULL;
  struct sip_kafka_cluster *cluster;
  rd_kafka_resp_err_t res = rd_kafka_metadata(admin->rk, 1, NULL, &metadata, admin->timeout_ms);
  char *id;
  int rc;

  if (res != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return sip_admin_err(admin, err, res, NULL, "list brokers", NULL);
  }
  cluster = calloc(1, sizeof *cluster);
  rc = cluster == NULL ? UV_ENOMEM : cluster_fill(cluster, metadata);
  rd_kafka_metadata_destroy(metadata);
  if (rc == 0) {
    id = rd_kafka_clusterid(admin->rk, admin->timeout_ms);
    cluster->id = strdup(id == NULL ? "" : id);
    rc = cluster->id == NULL ? UV_ENOMEM : 0;
    if (id != NULL) {
      rd_kafka_mem_free(admin->rk, id);
    }
    cluster->embedded = sip_kafka_is_embedded(admin->rk, admin->timeout_ms);
    cluster->controller = rd_kafka_controllerid(admin->rk, admin->timeout_ms);
  }
  if (rc < 0) {
    sip_kafka_cluster_free(cluster);
    return sip_err_set(err, rc, "list brokers: out of memory");
  }
  *out = cluster;
  return 0;
}

/* --- configurations --- */

void sip_kafka_setting_list_free(struct sip_kafka_setting_list *list)
{
  if (list == NULL) {
    return;
  }
  for (size_t i = 0; i < list->count; i++) {
    free(list->settings[i].name);
    free(list->settings[i].value);
  }
  free(list->settings);
  free(list);
}

static int setting_compare(const void *a, const void *b)
{
  return strcmp(((const struct sip_kafka_setting *)a)->name,
                ((const struct sip_kafka_setting *)b)->name);
}

static const char *setting_source(const rd_kafka_ConfigEntry_t *entry)
{
  switch (rd_kafka_ConfigEntry_source(entry)) {
  case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG:
    return "topic";
  case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_BROKER_CONFIG:
  case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER_CONFIG:
  case RD_KAFKA_CONFIG_SOURCE_STATIC_BROKER_CONFIG:
    return "broker";
  case RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG:
    return "default";
  default:
    return "other";
  }
}

static int setting_fill(struct sip_kafka_setting *setting, const rd_kafka_ConfigEntry_t *entry)
{
  const char *value = rd_kafka_ConfigEntry_value(entry);

  setting->sensitive = rd_kafka_ConfigEntry_is_sensitive(entry) == 1;
  setting->read_only = rd_kafka_ConfigEntry_is_read_only(entry) == 1;
  setting->is_default = rd_kafka_ConfigEntry_is_default(entry) == 1;
  setting->source = setting_source(entry);
  setting->name = strdup(rd_kafka_ConfigEntry_name(entry));
  if (value != NULL && !setting->sensitive) {
    setting->value = strdup(value);
    if (setting->value == NULL) {
      return UV_ENOMEM;
    }
  }
  return setting->name == NULL ? UV_ENOMEM : 0;
}

static struct sip_kafka_setting_list *settings_of(const rd_kafka_ConfigResource_t *resource)
{
  size_t count = 0;
  const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
  struct sip_kafka_setting_list *list = calloc(1, sizeof *list);
  int rc = 0;

  if (list == NULL) {
    return NULL;
  }
  list->settings = calloc(count + 1, sizeof *list->settings);
  rc = list->settings == NULL ? UV_ENOMEM : 0;
  for (size_t i = 0; rc == 0 && i < count; i++) {
    rc = setting_fill(&list->settings[list->count++], entries[i]);
  }
  if (rc < 0) {
    sip_kafka_setting_list_free(list);
    return NULL;
  }
  qsort(list->settings, list->count, sizeof *list->settings, setting_compare);
  return list;
}

int sip_kafka_admin_configuration(struct sip_kafka_admin *admin, bool of_broker, const char *name,
                                  struct sip_kafka_setting_list **out, struct sip_err *err)
{
  rd_kafka_ConfigResource_t *request;
  const rd_kafka_ConfigResource_t **resources;
  rd_kafka_AdminOptions_t *options;
  struct sip_err local;
  rd_kafka_event_t *event;
  size_t count = 0;
  int rc;

  err = err == NULL ? &local : err;
  rc = not_embedded(admin, "configuration of", name, err);
  if (rc < 0) {
    return rc;
  }
  request = rd_kafka_ConfigResource_new(
    of_broker ? RD_KAFKA_RESOURCE_BROKER : RD_KAFKA_RESOURCE_TOPIC, name);
  if (request == NULL) {
    return sip_err_set(err, UV_EINVAL, "configuration: a name is needed");
  }
  options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  (void)rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, NULL, 0);
  rd_kafka_DescribeConfigs(admin->rk, &request, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  rd_kafka_ConfigResource_destroy(request);
  event = sip_admin_wait(admin, "configuration of", name, err);
  if (event == NULL) {
    return err->code;
  }
  resources =
    rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
  if (count == 1 && rd_kafka_ConfigResource_error(resources[0]) == RD_KAFKA_RESP_ERR_NO_ERROR) {
    *out = settings_of(resources[0]);
    rc = *out == NULL ? sip_err_set(err, UV_ENOMEM, "configuration: out of memory") : 0;
  } else {
    rc = sip_admin_err(admin, err,
                       count == 1 ? rd_kafka_ConfigResource_error(resources[0])
                                  : RD_KAFKA_RESP_ERR__FAIL,
                       count == 1 ? rd_kafka_ConfigResource_error_string(resources[0]) : NULL,
                       "configuration of", name);
  }
  rd_kafka_event_destroy(event);
  return rc;
}

/* --- members --- */

void sip_kafka_member_list_free(struct sip_kafka_member_list *list)
{
  if (list == NULL) {
    return;
  }
  for (size_t i = 0; i < list->count; i++) {
    struct sip_kafka_member *member = &list->members[i];

    for (size_t p = 0; p < member->partition_count; p++) {
      free(member->partitions[p].topic);
    }
    free(member->partitions);
    free(member->id);
    free(member->client_id);
    free(member->host);
  }
  free(list->members);
  free(list->protocol);
  free(list);
}

static int member_fill(struct sip_kafka_member *member, const rd_kafka_MemberDescription_t *from)
{
  const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(from);
  const rd_kafka_topic_partition_list_t *list =
    assignment == NULL ? NULL : rd_kafka_MemberAssignment_partitions(assignment);
  size_t count = list == NULL ? 0 : (size_t)list->cnt;

  member->id = strdup(rd_kafka_MemberDescription_consumer_id(from));
  member->client_id = strdup(rd_kafka_MemberDescription_client_id(from));
  member->host = strdup(rd_kafka_MemberDescription_host(from));
  member->partitions = calloc(count + 1, sizeof *member->partitions);
  if (member->id == NULL || member->client_id == NULL || member->host == NULL ||
      member->partitions == NULL) {
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < count; i++) {
    member->partitions[i].topic = strdup(list->elems[i].topic);
    if (member->partitions[i].topic == NULL) {
      return UV_ENOMEM;
    }
    member->partitions[i].partition = list->elems[i].partition;
    member->partition_count++;
  }
  return 0;
}

static struct sip_kafka_member_list *members_of(const rd_kafka_ConsumerGroupDescription_t *group)
{
  const char *protocol = rd_kafka_ConsumerGroupDescription_partition_assignor(group);
  size_t count = rd_kafka_ConsumerGroupDescription_member_count(group);
  struct sip_kafka_member_list *list = calloc(1, sizeof *list);
  int rc;

  if (list == NULL) {
    return NULL;
  }
  list->protocol = strdup(protocol == NULL ? "" : protocol);
  list->members = calloc(count + 1, sizeof *list->members);
  rc = list->protocol == NULL || list->members == NULL ? UV_ENOMEM : 0;
  for (size_t i = 0; rc == 0 && i < count; i++) {
    rc = member_fill(&list->members[list->count++],
                     rd_kafka_ConsumerGroupDescription_member(group, i));
  }
  if (rc < 0) {
    sip_kafka_member_list_free(list);
    return NULL;
  }
  return list;
}

int sip_kafka_admin_members(struct sip_kafka_admin *admin, const char *group,
                            struct sip_kafka_member_list **out, struct sip_err *err)
{
  const rd_kafka_ConsumerGroupDescription_t **groups;
  const rd_kafka_error_t *failed;
  rd_kafka_AdminOptions_t *options;
  struct sip_err local;
  rd_kafka_event_t *event;
  size_t count = 0;
  int rc;

  err = err == NULL ? &local : err;
  rc = not_embedded(admin, "members of group", group, err);
  if (rc < 0) {
    return rc;
  }
  options = rd_kafka_AdminOptions_new(admin->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
  (void)rd_kafka_AdminOptions_set_request_timeout(options, admin->timeout_ms, NULL, 0);
  rd_kafka_DescribeConsumerGroups(admin->rk, &group, 1, options, admin->queue);
  rd_kafka_AdminOptions_destroy(options);
  event = sip_admin_wait(admin, "members of group", group, err);
  if (event == NULL) {
    return err->code;
  }
  groups = rd_kafka_DescribeConsumerGroups_result_groups(
    rd_kafka_event_DescribeConsumerGroups_result(event), &count);
  failed = count == 1 ? rd_kafka_ConsumerGroupDescription_error(groups[0]) : NULL;
  if (count == 1 && failed == NULL) {
    *out = members_of(groups[0]);
    rc = *out == NULL ? sip_err_set(err, UV_ENOMEM, "members of a group: out of memory") : 0;
  } else {
    rc = sip_admin_err(
      admin, err, failed == NULL ? RD_KAFKA_RESP_ERR__FAIL : rd_kafka_error_code(failed),
      failed == NULL ? NULL : rd_kafka_error_string(failed), "members of group", group);
  }
  rd_kafka_event_destroy(event);
  return rc;
}
