// worker.js - the benchmark's work with KafkaJS.
//
// node worker.js BROKERS GROUP IN OUT LINGER_MS
// KafkaJS has no linger: a fetched batch goes out as one request, up to six partitions at a time. What is sent is
// committed once a second.
"use strict";

const { CompressionTypes, Kafka, logLevel } = require("kafkajs");

const ROUTES = {
  "order.created": ["accepted", 1],
  "order.paid": ["settled", 1],
  "order.shipped": ["closed", 1],
  "order.cancelled": ["refunded", -1],
};

function transform(message) {
  const event = JSON.parse(message.value);
  const [status, sign] = ROUTES[event.type];
  const data = event.data;
  const output = {
    id: event.id,
    order: data.orderId,
    customer: data.customerId,
    status,
    amount: sign * data.total,
  };
  return { key: message.key, value: JSON.stringify(output) };
}

function die(error) {
  console.error("worker:", error);
  process.exit(1);
}

async function main() {
  const [brokers, groupId, source, target] = process.argv.slice(2);
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR });
  const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false });
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 });
  const finished = new Map();

  await Promise.all([producer.connect(), consumer.connect()]);
  await consumer.subscribe({ topic: source, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    partitionsConsumedConcurrently: 6,
    eachBatch: async ({ batch, resolveOffset }) => {
      const messages = batch.messages.map(transform);
      await producer.send({ topic: target, acks: -1, compression: CompressionTypes.None, messages });
      resolveOffset(batch.lastOffset());
      finished.set(batch.partition, (BigInt(batch.lastOffset()) + 1n).toString());
    },
  });

  const commit = async () => {
    const offsets = Array.from(finished, ([partition, offset]) => ({ topic: source, partition, offset }));
    finished.clear();
    if (offsets.length > 0) await consumer.commitOffsets(offsets);
  };
  const timer = setInterval(() => commit().catch(die), 1000);

  process.once("SIGTERM", async () => {
    clearInterval(timer);
    await consumer.stop();
    await commit();
    await Promise.all([producer.disconnect(), consumer.disconnect()]);
    process.exit(0);
  });
}

main().catch(die);
