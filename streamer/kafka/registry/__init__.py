"""Serdes whose schemas live in a schema registry, and the connection to it."""

from streamer.kafka.registry.avro import Avro
from streamer.kafka.registry.protobuf import Protobuf

__all__ = ["Avro", "Protobuf"]
