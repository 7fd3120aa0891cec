/* embedded_test.c - the broker inside of the process answers clients on its own and on a fixed
 * port. */
#include "kafka/embedded.h"

#include "support/test.h"

#include <dirent.h>
#include <librdkafka/rdkafka.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
  struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
  socklen_t len = sizeof here;
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  CHECK(fd >= 0);
  CHECK_INT(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
  CHECK_INT(getsockname(fd, (struct sockaddr *)&here, &len), 0);
  CHECK_INT(close(fd), 0);
  return ntohs(here.sin_port);
}

/* What a client that knows only `address` sees of `topic`. */
static int partitions_of(const char *address, const char *topic)
{
  const struct rd_kafka_metadata *metadata = NULL;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  char why[256];
  int count = -1;
  rd_kafka_t *rk;

  CHECK_INT(rd_kafka_conf_set(conf, "bootstrap.servers", address, why, sizeof why),
            RD_KAFKA_CONF_OK);
  rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  CHECK(rk != NULL);
  CHECK_INT(rd_kafka_metadata(rk, 1, NULL, &metadata, 10000), 0);
  for (int i = 0; i < metadata->topic_cnt; i++) {
    if (strcmp(metadata->topics[i].topic, topic) == 0) {
      count = metadata->topics[i].partition_cnt;
    }
  }
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_destroy(rk);
  return count;
}

/* Whether SIGHUP may interrupt that thread of ours. */
static bool takes_signals(const char *thread)
{
  char path[300], line[256];
  unsigned long long blocked = 0;
  FILE *file;

  (void)snprintf(path, sizeof path, "/proc/self/task/%s/status", thread);
  file = fopen(path, "r");
  CHECK(file != NULL);
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "SigBlk:", 7) == 0) {
      blocked = strtoull(line + 7, NULL, 16);
    }
  }
  CHECK_INT(fclose(file), 0);
  return (blocked & 1ULL << (SIGHUP - 1)) == 0;
}

/* librdkafka's mock cluster ends when its poll is interrupted. */
static void a_signal_reaches_only_the_main_thread(void)
{
  struct sip_embedded_broker *broker = NULL;
  struct sip_err err = { 0 };
  size_t others = 0;
  char main_thread[16];
  struct dirent *entry;
  DIR *threads;

  CHECK_INT(sip_embedded_broker_start(&broker, 0, &err), 0);
  threads = opendir("/proc/self/task");
  CHECK(threads != NULL);
  while ((entry = readdir(threads)) != NULL) {
    if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) != getpid()) {
      CHECK(!takes_signals(entry->d_name));
      others++;
    }
  }
  CHECK(others >= 2);
  CHECK_INT(closedir(threads), 0);
  (void)snprintf(main_thread, sizeof main_thread, "%d", (int)getpid());
  CHECK(takes_signals(main_thread));
  sip_embedded_broker_stop(broker);
}

static void a_client_sees_a_created_topic(uint16_t port)
{
  struct sip_embedded_broker *broker = NULL;
  struct sip_err err = { 0 };

  CHECK_INT(sip_embedded_broker_start(&broker, port, &err), 0);
  CHECK_INT(sip_embedded_broker_create_topic(broker, "three", 3, &err), 0);
  CHECK_INT(partitions_of(sip_embedded_broker_address(broker), "three"), 3);
  CHECK_INT(sip_embedded_broker_create_topic(broker, "three", 3, &err), SIP_EEXISTS);
  CHECK_STR(err.name, "TOPIC_ALREADY_EXISTS");
  CHECK_INT(sip_embedded_broker_create_topic(broker, "none", 0, &err), UV_EINVAL);
  sip_embedded_broker_stop(broker);
}

static void a_taken_port_is_refused_with_a_hint(void)
{
  struct sip_embedded_broker *first = NULL, *second = NULL;
  struct sip_err err = { 0 };
  uint16_t port = free_port();

  CHECK_INT(sip_embedded_broker_start(&first, port, &err), 0);
  CHECK_INT(sip_embedded_broker_start(&second, port, &err), UV_EADDRINUSE);
  CHECK_HAS(err.message, "choose another port");
  sip_embedded_broker_stop(first);
}

static void its_settings_keep_rebalances_short(void)
{
  struct sip_embedded_broker *broker = NULL;
  struct sip_kafka_settings *settings = NULL;

  CHECK_INT(sip_embedded_broker_start(&broker, 0, NULL), 0);
  CHECK_INT(sip_kafka_settings_new(&settings, NULL), 0);
  CHECK_INT(sip_embedded_broker_settings(sip_embedded_broker_address(broker), settings, NULL), 0);
  CHECK_STR(sip_kafka_settings_brokers(settings), sip_embedded_broker_address(broker));
  CHECK_STR(sip_kafka_settings_get(settings, "session.timeout.ms"), "3000");
  sip_kafka_settings_free(settings);
  sip_embedded_broker_stop(broker);
}

int main(void)
{
  a_signal_reaches_only_the_main_thread();
  a_client_sees_a_created_topic(0);
  a_client_sees_a_created_topic(free_port());
  a_taken_port_is_refused_with_a_hint();
  its_settings_keep_rebalances_short();
  SIP_TEST_END(uv_default_loop());
  return 0;
}
