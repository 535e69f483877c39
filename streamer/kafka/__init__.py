"""The only door to librdkafka: its classes and errors never leave this package."""
