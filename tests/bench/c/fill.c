/* fill.c - writes the events of the benchmark into a topic.
 *
 * fill BROKERS TOPIC PARTITIONS FIRST END KEYS [RATE SENT]
 * Writes the events from number FIRST to the one before END.
 * All events of a key go to one partition. With RATE (events per second) they leave at a steady
 * pace, without linger, and the time of each (64-bit microseconds since 1970) is written to the
 * file SENT. */
#include "order.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <time.h>

struct fill {
  rd_kafka_t *producer;
  rd_kafka_topic_t *topic;
  uint32_t partitions, first, end, keys, failed;
  int64_t *sent_us; /* NULL: no pace */
  double rate;
};

static void die(const char *what, const char *why)
{
  (void)fprintf(stderr, "fill: %s: %s\n", what, why);
  exit(1);
}

static void fill_on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
  struct fill *fill = opaque;

  (void)producer;
  if (message->err != 0) {
    fill->failed++;
  }
}

static rd_kafka_t *fill_producer(const char *brokers, struct fill *fill)
{
  const char *settings[][2] = {
    { "bootstrap.servers", brokers },
    { "enable.idempotence", "true" },
    { "queue.buffering.max.messages", "200000" },
    { "linger.ms", fill->sent_us != NULL ? "0" : "20" },
  };
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *producer;
  char why[256];

  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
    if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) !=
        RD_KAFKA_CONF_OK) {
      die(settings[i][0], why);
    }
  }
  rd_kafka_conf_set_opaque(conf, fill);
  rd_kafka_conf_set_dr_msg_cb(conf, fill_on_report);
  producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (producer == NULL) {
    die("producer", why);
  }
  return producer;
}

static void fill_send(struct fill *fill, uint32_t number)
{
  char key[ORDER_KEY], value[ORDER_BYTES + 1];
  int32_t partition = (int32_t)(order_key(number, fill->keys) % fill->partitions);

  order_key_text(key, number, fill->keys);
  order_value(value, number, fill->keys);
  while (rd_kafka_produce(fill->topic, partition, RD_KAFKA_MSG_F_COPY, value, ORDER_BYTES, key,
                          strlen(key), NULL) != 0) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
      die("produce", rd_kafka_err2str(rd_kafka_last_error()));
    }
    (void)rd_kafka_poll(fill->producer, 10);
  }
  (void)rd_kafka_poll(fill->producer, 0);
}

/* Waits for the moment of the n-th event, and notes when it really leaves. */
static void fill_pace(struct fill *fill, uint32_t number, const struct timespec *began)
{
  struct timespec due = *began, now;
  int64_t after_ns = (int64_t)((double)(number - fill->first) * 1e9 / fill->rate) + due.tv_nsec;

  due.tv_sec += (time_t)(after_ns / 1000000000);
  due.tv_nsec = (long)(after_ns % 1000000000);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0) {
  }
  (void)clock_gettime(CLOCK_REALTIME, &now);
  fill->sent_us[number] = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fill_save(const struct fill *fill, const char *path)
{
  FILE *file = fopen(path, "wb");

  if (file == NULL || fwrite(fill->sent_us, sizeof *fill->sent_us, fill->end, file) != fill->end ||
      fclose(file) != 0) {
    die(path, "cannot be written");
  }
}

int main(int argc, char **argv)
{
  struct fill fill = { 0 };
  struct timespec began;

  if (argc != 7 && argc != 9) {
    die("usage", "fill BROKERS TOPIC PARTITIONS FIRST END KEYS [RATE SENT]");
  }
  fill.partitions = (uint32_t)strtoul(argv[3], NULL, 10);
  fill.first = (uint32_t)strtoul(argv[4], NULL, 10);
  fill.end = (uint32_t)strtoul(argv[5], NULL, 10);
  fill.keys = (uint32_t)strtoul(argv[6], NULL, 10);
  if (fill.partitions == 0 || fill.end <= fill.first || fill.keys == 0) {
    die("usage", "PARTITIONS and KEYS are at least 1, END is beyond FIRST");
  }
  if (argc == 9) {
    fill.rate = strtod(argv[7], NULL);
    fill.sent_us = calloc(fill.end, sizeof *fill.sent_us);
    if (fill.rate <= 0 || fill.sent_us == NULL) {
      die(argv[7], "no such rate, or no memory for its times");
    }
  }
  fill.producer = fill_producer(argv[1], &fill);
  fill.topic = rd_kafka_topic_new(fill.producer, argv[2], NULL);
  (void)clock_gettime(CLOCK_MONOTONIC, &began);
  for (uint32_t number = fill.first; number < fill.end; number++) {
    if (fill.sent_us != NULL) {
      fill_pace(&fill, number, &began);
    }
    fill_send(&fill, number);
  }
  if (rd_kafka_flush(fill.producer, 120000) != 0 || fill.failed != 0) {
    die(argv[2], "not all events were written");
  }
  if (fill.sent_us != NULL) {
    fill_save(&fill, argv[8]);
  }
  rd_kafka_topic_destroy(fill.topic);
  rd_kafka_destroy(fill.producer);
  free(fill.sent_us);
  return 0;
}
