"""The benchmark as an application of Quix Streams; it runs in an environment of its own."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State  # type: ignore[import-not-found]


def add(event: dict[str, Any], state: State) -> dict[str, int]:
    stats: dict[str, int] = state.get("stats") or {"count": 0, "sum": 0, "last": 0}
    stats["count"] += 1
    stats["sum"] += event["amount"]
    stats["last"] = event["ts"]
    state.set("stats", stats)
    return stats


def main() -> None:
    application = Application(
        broker_address=os.environ["BENCH_BOOTSTRAP"],
        consumer_group=os.environ["BENCH_APPLICATION"],
        processing_guarantee="exactly-once",
        commit_interval=int(os.environ["BENCH_COMMIT_MS"]) / 1_000,
        auto_offset_reset="earliest",
        auto_create_topics=True,
        state_dir=os.environ["BENCH_STATE"],
        loglevel="WARNING",
    )
    source = application.topic(
        os.environ["BENCH_SOURCE"], key_deserializer="str", value_deserializer="json"
    )
    target = application.topic(
        os.environ["BENCH_TARGET"], key_serializer="str", value_serializer="json"
    )
    application.dataframe(source).apply(add, stateful=True).to_topic(target)
    application.run()


if __name__ == "__main__":
    main()
