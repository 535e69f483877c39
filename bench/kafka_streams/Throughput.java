import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/** Count, sum and last time per customer, as its documentation would have one write it. */
public final class Throughput {
    public static final class Event {
        public String customer;
        public String type;
        public long amount;
        public long ts;
    }

    public static final class Stats {
        public long count;
        public long sum;
        public long last;

        Stats add(Event event) {
            count += 1;
            sum += event.amount;
            last = event.ts;
            return this;
        }
    }

    private Throughput() {}

    private static <T> Serde<T> json(Class<T> type) {
        ObjectMapper mapper = new ObjectMapper();
        return Serdes.serdeFrom(
            (topic, value) -> {
                try {
                    return value == null ? null : mapper.writeValueAsBytes(value);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            },
            (topic, bytes) -> {
                try {
                    return bytes == null ? null : mapper.readValue(bytes, type);
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
            });
    }

    public static void main(String[] arguments) throws InterruptedException {
        Properties settings = Case.settings();
        if (Case.variable("BENCH_CACHE").equals("off")) {
            settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0L);
        }
        Serde<Stats> stats = json(Stats.class);
        StreamsBuilder builder = new StreamsBuilder();
        builder
            .stream(Case.SOURCE, Consumed.with(Serdes.String(), json(Event.class)))
            .groupByKey()
            .aggregate(
                Stats::new,
                (key, event, aggregate) -> aggregate.add(event),
                Materialized.<String, Stats, KeyValueStore<Bytes, byte[]>>as("stats")
                    .withKeySerde(Serdes.String())
                    .withValueSerde(stats))
            .toStream()
            .to(Case.TARGET, Produced.with(Serdes.String(), stats));
        Case.runUntilStopped(Case.streams(builder.build(), settings));
    }
}
