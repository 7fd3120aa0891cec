// web.js - the benchmark's routes with Node's http and KafkaJS.
//
// node web.js PORT [BROKERS TOPIC]
// KafkaJS has no linger: what comes within 5 ms goes out as one request, one after the other, as librdkafka does it.
// Over 100,000 messages that wait, a request gets 503.
"use strict";

const http = require("http");

const LINGER_MS = 5;
const MOST = 100000;

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function read(request, then) {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => then(parts.length === 1 ? parts[0] : Buffer.concat(parts)));
}

async function publisher(brokers, topic) {
  const { CompressionTypes, Kafka, logLevel } = require("kafkajs");
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR });
  const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false });
  let waiting = [];
  let busy = false;

  const flush = async () => {
    while (waiting.length > 0) {
      const messages = waiting;
      waiting = [];
      await producer.send({ topic, acks: -1, compression: CompressionTypes.None, messages });
    }
    busy = false;
  };
  await producer.connect();
  return (key, value) => {
    if (waiting.length >= MOST) return false;
    waiting.push({ key, value });
    if (!busy) {
      busy = true;
      setTimeout(() => flush().catch((error) => {
        console.error("web:", error);
        process.exit(1);
      }), LINGER_MS);
    }
    return true;
  };
}

async function main() {
  const [port, brokers, topic] = process.argv.slice(2);
  const publish = brokers ? await publisher(brokers, topic) : null;
  const server = http.createServer((request, response) => {
    read(request, (body) => {
      let order;
      try {
        order = JSON.parse(body);
      } catch (error) {
        return answer(response, 400, { title: "Bad Request" });
      }
      if (request.url === "/lua") {
        return answer(response, 200, { id: order.id, total: order.quantity * order.price });
      }
      if (request.url === "/publish" && publish) {
        return publish(order.id, body) ? answer(response, 202, { id: order.id }) : answer(response, 503, {});
      }
      return answer(response, 404, {});
    });
  });
  server.listen(Number(port), "127.0.0.1");
}

main().catch((error) => {
  console.error("web:", error);
  process.exit(1);
});
