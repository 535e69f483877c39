import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;

/** Restores a store of the kind that an aggregation has, and prints how many records it took in. */
public final class Restore {
    private Restore() {}

    private static final class Idle extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        @Override
        public void process(Record<byte[], byte[]> record) {}
    }

    private static final class Progress implements StateRestoreListener {
        private final AtomicLong restored = new AtomicLong();

        @Override
        public void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            System.out.println("restored " + restored.get());
        }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long records) {
            System.out.println("restored " + restored.addAndGet(records));
        }

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long records) {}
    }

    public static void main(String[] arguments) throws InterruptedException {
        Properties settings = Case.settings();
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Case.variable("BENCH_THREADS"));
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.timestampedKeyValueStoreBuilder(
            Stores.persistentTimestampedKeyValueStore("stats"),
            Serdes.ByteArray(),
            Serdes.ByteArray()));
        builder
            .stream(Case.SOURCE, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
            .process(Idle::new, "stats");
        KafkaStreams streams = Case.streams(builder.build(), settings);
        streams.setGlobalStateRestoreListener(new Progress());
        Case.runUntilStopped(streams);
    }
}
