import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.reactor.ReactorProcessor;
import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import reactor.core.publisher.Mono;

/**
 * The benchmark's work with the Java parallel consumer: order per key, Reactor mode.
 *
 * Parallel BROKERS GROUP IN OUT LINGER_MS CONCURRENCY WAIT_MS
 * An event is finished when its output is acknowledged. With WAIT_MS each handler first waits so long, without a thread.
 */
public final class Parallel {
  private Parallel() {}

  public static void main(String[] operands) {
    KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(Orders.producer(operands[0], operands[4]));
    String target = operands[3];
    Duration wait = Duration.ofMillis(Long.parseLong(operands[6]));
    ReactorProcessor<byte[], byte[]> processor = new ReactorProcessor<>(
        ParallelConsumerOptions.<byte[], byte[]>builder()
            .consumer(new KafkaConsumer<>(Orders.consumer(operands[0], operands[1])))
            .ordering(ProcessingOrder.KEY)
            .maxConcurrency(Integer.parseInt(operands[5]))
            .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .commitInterval(Duration.ofSeconds(1))
            .build());
    processor.subscribe(List.of(operands[2]));
    processor.react(context -> {
      var record = context.getSingleConsumerRecord();
      Mono<Object> sent = Mono.create(sink -> {
        byte[] output = Orders.transform(record.value());
        producer.send(new ProducerRecord<>(target, record.key(), output), (metadata, error) -> {
          if (error != null) {
            Orders.die("an output", error);
          }
          sink.success(metadata);
        });
      });
      return wait.isZero() ? sent : Mono.delay(wait).then(sent);
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      processor.closeDrainFirst();
      producer.close();
      Runtime.getRuntime().halt(0);
    }));
  }
}
