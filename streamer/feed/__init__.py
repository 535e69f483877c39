"""The feed: what is written to the changelogs of one layout goes to those of another, record by
record, to the partition in which its key is at home there. Kafka to Kafka, exactly once."""
