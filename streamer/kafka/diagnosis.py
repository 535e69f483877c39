"""Why a transaction failed: what there is to raise, given the reports of deliveries."""

from __future__ import annotations

from typing import NoReturn

from streamer.errors import (
    FencedError,
    KafkaUnavailableError,
    StreamerError,
    TopicMissingError,
)
from streamer.kafka.api import AbortableError, RefusedError
from streamer.kafka.deliveries import Deliveries
from streamer.kafka.faults import is_denied_topic
from streamer.kafka.refusals import Refusals
from streamer.kafka.rights import not_granted, on_topics

__all__ = ["have_it_done_again", "raise_reason"]


# So many refused records may be learnt of, one try each, before tries count as failures.
_REFUSED_MAX = 200


def raise_reason(
    error: StreamerError, deliveries: Deliveries, refusals: Refusals, *, was_reported: bool
) -> NoReturn:
    """`was_reported`: every delivery was, so that the reason is known by now."""
    if isinstance(error, TopicMissingError):
        # The brokers do not say of a transaction which topic it is.
        if named := deliveries.missing(sorted(deliveries.written)):
            raise named from error
        raise error
    if is_denied_topic(error):
        _find_denied(error, deliveries, refusals)
        have_it_done_again(error, refusals)
    if isinstance(error, RefusedError) or deliveries.is_refused:
        if reason := refusals.read_limits():
            raise FencedError(
                f"batches have to become smaller: {reason}",
                hint="the worker joins again with a new producer",
            ) from error
        if deliveries.refused or not was_reported:
            have_it_done_again(error, refusals)
        raise AbortableError(deliveries.doubt or str(error)) from error
    if was_reported and deliveries.failure is not None:
        if isinstance(deliveries.failure, KafkaUnavailableError):
            # Brokers were away for too long. The transaction has failed, and is done again: nothing
            # is in doubt, as it would be if the answer to a commit were missing.
            raise AbortableError(str(deliveries.failure)) from error
        raise deliveries.failure from error
    raise error


def have_it_done_again(error: StreamerError, refusals: Refusals) -> NoReturn:
    """More is known of what is refused than in the last try."""
    if refusals.count > _REFUSED_MAX:
        raise AbortableError(str(error)) from error
    refusals.tried()
    if refusals.is_fruitless:
        raise AbortableError(
            f"results are refused that are others on every try, so that none can be told: {error}",
            hint="compute results from the record alone, not from the clock or by chance",
        ) from error
    raise RefusedError(f"records were refused: {error}") from error


def _find_denied(error: StreamerError, deliveries: Deliveries, refusals: Refusals) -> None:
    """A transaction failed for a topic that may not be written; which one, only the brokers tell.
    The next try halts the tasks that write it."""
    written = sorted(deliveries.written)
    right = on_topics("Write", deliveries.not_writable(written) or written)
    problem = not_granted("writing in a transaction", right, str(error))
    for topic in right.names:
        refusals.deny(topic, problem)
