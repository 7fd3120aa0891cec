import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/** The benchmark's work in Java, with Jackson: from the bytes of an event to those of its output. */
final class Orders {
  record Event(String id, String type, String version, String occurredAt, Data data) {}

  record Data(String orderId, String customerId, String machineId, String currency, double total,
      List<Item> items, String note) {}

  record Item(String sku, int quantity) {}

  record Answer(String id, String order, String customer, String status, double amount) {}

  record Route(String status, int sign) {}

  private static final Map<String, Route> ROUTES = Map.of(
      "order.created", new Route("accepted", 1),
      "order.paid", new Route("settled", 1),
      "order.shipped", new Route("closed", 1),
      "order.cancelled", new Route("refunded", -1));
  private static final ObjectReader READER = new ObjectMapper().readerFor(Event.class);
  private static final ObjectWriter WRITER = new ObjectMapper().writerFor(Answer.class);

  private Orders() {}

  static byte[] transform(byte[] value) {
    try {
      Event event = READER.readValue(value);
      Data data = event.data();
      Route route = ROUTES.get(event.type());
      return WRITER.writeValueAsBytes(new Answer(event.id(), data.orderId(), data.customerId(),
          route.status(), route.sign() * data.total()));
    } catch (IOException | RuntimeException error) {
      throw die("an event", error);
    }
  }

  static IllegalStateException die(String what, Throwable why) {
    System.err.println("worker: " + what + ": " + why);
    Runtime.getRuntime().halt(1);
    return new IllegalStateException(why);
  }

  static Properties consumer(String brokers, String group) {
    Properties settings = settings(brokers, "Deserializer");
    settings.putAll(Map.of("group.id", group, "auto.offset.reset", "earliest",
        "enable.auto.commit", "false", "max.poll.records", "5000"));
    return settings;
  }

  /** batch.size is what librdkafka and franz-go have; the Java client's own 16 KB would hold it back. */
  static Properties producer(String brokers, String lingerMs) {
    Properties settings = settings(brokers, "Serializer");
    settings.putAll(Map.of("acks", "all", "enable.idempotence", "true", "linger.ms", lingerMs,
        "compression.type", "none", "batch.size", "1000000", "buffer.memory", "134217728"));
    return settings;
  }

  private static Properties settings(String brokers, String kind) {
    String end = kind.toLowerCase();
    String type = "org.apache.kafka.common.serialization.ByteArray" + kind;
    Properties settings = new Properties();
    settings.putAll(Map.of("bootstrap.servers", brokers, "key." + end, type, "value." + end, type));
    return settings;
  }
}
