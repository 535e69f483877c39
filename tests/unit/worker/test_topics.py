"""An input that was given more partitions while the application runs."""

from __future__ import annotations

import pytest

from streamer import App
from streamer.errors import PartitionsChangedError
from streamer.topology.graph import Topology
from streamer.topology.partitions import partitions
from streamer.worker.topics import check_unchanged


def topology(*, keeps: bool) -> Topology:
    app = App("shop")
    stream = app.stream("in", key=str, value=str)
    if keeps:
        stream.group_by_key().count(store="counts")
    stream.to("out")
    return app.topology()


@pytest.mark.parametrize(
    ("keeps", "told"), [(True, "may be wrong"), (False, "keeps no state, so nothing is wrong")]
)
def test_it_is_told_what_that_means_for_the_results(keeps: bool, told: str) -> None:
    made = topology(keeps=keeps)
    planned = partitions(made, {"in": 4})
    check_unchanged(planned, made, {"in": 4, "out": 9})
    with pytest.raises(PartitionsChangedError, match=r"in now has 6 partitions; .* with 4") as seen:
        check_unchanged(planned, made, {"in": 6, "out": 9})
    assert told in seen.value.hint
    # Some records may have been processed before anybody could know.
    assert "safe" not in seen.value.hint
