import java.time.Duration;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * The benchmark's work with the plain Java client.
 *
 * Plain BROKERS GROUP IN OUT LINGER_MS
 * Each poll is a batch that waits for its outputs' acknowledgements; batches are committed in their order.
 */
public final class Plain {
  private record Batch(AtomicInteger pending, Map<TopicPartition, OffsetAndMetadata> ends) {}

  private static volatile boolean stopped;

  private final KafkaConsumer<byte[], byte[]> consumer;
  private final KafkaProducer<byte[], byte[]> producer;
  private final String target;
  private final ArrayDeque<Batch> waiting = new ArrayDeque<>();
  private final Map<TopicPartition, OffsetAndMetadata> finished = new HashMap<>();

  private Plain(String[] operands) {
    consumer = new KafkaConsumer<>(Orders.consumer(operands[0], operands[1]));
    producer = new KafkaProducer<>(Orders.producer(operands[0], operands[4]));
    target = operands[3];
    consumer.subscribe(List.of(operands[2]));
  }

  private void handle(ConsumerRecords<byte[], byte[]> records) {
    Batch batch = new Batch(new AtomicInteger(records.count()), new HashMap<>());
    for (ConsumerRecord<byte[], byte[]> record : records) {
      byte[] output = Orders.transform(record.value());
      producer.send(new ProducerRecord<>(target, record.key(), output), (metadata, error) -> {
        if (error != null) {
          Orders.die("an output", error);
        }
        batch.pending.decrementAndGet();
      });
    }
    for (TopicPartition partition : records.partitions()) {
      List<ConsumerRecord<byte[], byte[]>> part = records.records(partition);
      batch.ends.put(partition, new OffsetAndMetadata(part.get(part.size() - 1).offset() + 1));
    }
    waiting.add(batch);
  }

  private void run() {
    long committed = System.nanoTime();
    while (!stopped) {
      ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
      if (!records.isEmpty()) {
        handle(records);
      }
      collect();
      if (!finished.isEmpty() && System.nanoTime() - committed > 1_000_000_000L) {
        consumer.commitAsync(Map.copyOf(finished), null);
        finished.clear();
        committed = System.nanoTime();
      }
    }
    producer.close();
    collect();
    consumer.commitSync(finished);
    consumer.close();
  }

  private void collect() {
    while (!waiting.isEmpty() && waiting.peek().pending.get() == 0) {
      finished.putAll(waiting.poll().ends);
    }
  }

  public static void main(String[] operands) throws InterruptedException {
    CountDownLatch ended = new CountDownLatch(1);
    Thread hook = new Thread(() -> {
      stopped = true;
      try {
        ended.await();
      } catch (InterruptedException error) {
        Orders.die("end", error);
      }
      Runtime.getRuntime().halt(0);
    });
    Runtime.getRuntime().addShutdownHook(hook);
    try {
      new Plain(operands).run();
    } catch (RuntimeException error) {
      Orders.die("client", error);
    }
    ended.countDown();
  }
}
