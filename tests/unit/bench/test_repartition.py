from __future__ import annotations

import pytest

from bench import repartition
from bench.load import Ledger, Load, Seen
from bench.measure import MeasureError
from bench.options import Options, UsageError
from bench.repartition import COLUMNS, ROW_BYTES, Folds, State
from bench.report import Row
from bench.traffic import Silence


def ledger(*results: tuple[int, int, int]) -> Ledger:
    """Of key, count and disorder."""
    made = Ledger()
    for key, count, disorder in results:
        made.take(key, Seen(count, disorder))
    return made


def faults(lost: int = 0, doubled: int = 0, reordered: int = 0) -> dict[str, int]:
    return {"lost": lost, "doubled": doubled, "reordered": reordered}


def test_results_that_count_all_events_have_no_faults() -> None:
    # A result need not be seen for each event.
    assert ledger((0, 1, 0), (1, 1, 0), (0, 3, 0)).faults([3, 1]) == faults()


def test_what_is_missing_at_the_end_is_lost() -> None:
    assert ledger((0, 1, 0)).faults([3, 2]) == faults(lost=4)


def test_what_counts_more_than_was_sent_or_comes_twice_is_doubled() -> None:
    assert ledger((0, 4, 0)).faults([3]) == faults(doubled=1)
    assert ledger((0, 2, 0), (0, 2, 0), (0, 3, 0)).faults([3]) == faults(doubled=1)
    assert ledger((0, 1, 0), (7, 2, 0)).faults([1]) == faults(doubled=2)


def test_what_goes_back_or_came_when_another_was_due_is_reordered() -> None:
    assert ledger((0, 3, 0), (0, 2, 0)).faults([3]) == faults(reordered=1)
    assert ledger((0, 1, 0), (0, 3, 2)).faults([3]) == faults(reordered=2)


def test_rows_have_the_keys_that_are_promised() -> None:
    keys = {column.key for column in COLUMNS}
    assert keys >= {"mode", "state_mib", "pause_s", "total_s", "lost", "doubled", "reordered"}
    found = Folds(pause=[0.5, 0.7], gap=[2.0, 1.0], total=[20.0, 30.0], rate=[1e4, 2e4])
    assert found.row().keys() <= keys
    assert (found.row()["pause_p99_s"], found.row()["gap_p99_s"]) == (0.7, 2.0)


def test_a_gap_is_the_longest_of_all_partitions() -> None:
    load = Load("127.0.0.1:9", source="in", target="out", partitions=2, keys=1, rate=1)
    load._moments[0] = [1.0, 2.0, 3.0]
    with pytest.raises(MeasureError, match="no result"):
        load.gap(0.0)
    load._moments[1] = [1.0, 3.5]
    assert load.gap(0.0) == Silence(1.0, 3.5)


def test_sizes_are_chosen_by_their_name_or_given(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def broken(_bootstrap: str, state: State, _rate: int) -> object:
        tried.append(state.keys * ROW_BYTES // 1_000_000)
        raise ValueError("no disk")

    rows: list[Row] = []
    monkeypatch.setattr(repartition, "_prepared", broken)
    repartition.run(Options(bootstrap="127.0.0.1:9"), rows.extend)
    repartition.run(Options(bootstrap="127.0.0.1:9", state_mib=(1_024,)), rows.extend)
    with pytest.raises(UsageError, match="100 MiB"):
        repartition.run(Options(bootstrap="127.0.0.1:9", only=("1 GB",)), rows.extend)
    assert tried == [10, 104, 1_073]
    assert [row["state_mib"] for row in rows] == [10, 100, 1_024]
    assert {row["correct"] for row in rows} == {False}
    assert all("no disk" in str(row["error"]) for row in rows)
