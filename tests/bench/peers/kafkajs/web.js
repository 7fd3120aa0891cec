// web.js - the benchmark's routes with Node's http and KafkaJS.
//
// node web.js PORT [BROKERS TOPIC [each]]
// KafkaJS has no linger: what comes within 5 ms goes out as one request, one after the other, as librdkafka does it.
// Over 100,000 messages that wait, a request gets 503.
// each: as KafkaJS's documentation has it, every request sends its message; over 1,000 under way, a request waits.
"use strict";

const http = require("http");

const LINGER_MS = 5;
const MOST = 100000;
const MOST_SENDS = 1000;

function fail(error) {
  console.error("web:", error);
  process.exit(1);
}

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

async function connected(brokers, topic) {
  const { CompressionTypes, Kafka, logLevel } = require("kafkajs");
  const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR });
  const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false });
  await producer.connect();
  return (messages) => producer.send({ topic, acks: -1, compression: CompressionTypes.None, messages });
}

// Each gives a function of key, value and what to call with whether the message was taken.
function batching(send) {
  let waiting = [];
  let busy = false;

  const flush = async () => {
    while (waiting.length > 0) {
      const messages = waiting;
      waiting = [];
      await send(messages);
    }
    busy = false;
  };
  return (key, value, then) => {
    if (waiting.length >= MOST) return then(false);
    waiting.push({ key, value });
    if (!busy) {
      busy = true;
      setTimeout(() => flush().catch(fail), LINGER_MS);
    }
    return then(true);
  };
}

function sendingEach(send) {
  const held = [];
  let sends = 0;

  const start = ([key, value, then]) => {
    sends++;
    send([{ key, value }]).then(() => {
      sends--;
      if (held.length > 0) start(held.shift());
    }, fail);
    then(true);
  };
  return (key, value, then) => {
    if (sends < MOST_SENDS) return start([key, value, then]);
    held.push([key, value, then]);
  };
}

async function main() {
  const [port, brokers, topic, each] = process.argv.slice(2);
  const publish = brokers ? (each ? sendingEach : batching)(await connected(brokers, topic)) : null;
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
        return publish(order.id, body, (taken) => {
          answer(response, taken ? 202 : 503, taken ? { id: order.id } : {});
        });
      }
      return answer(response, 404, {});
    });
  });
  server.listen(Number(port), "127.0.0.1");
}

main().catch(fail);
