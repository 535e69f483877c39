"""A trim of an application whose state was built anew for a later layout."""

from __future__ import annotations

import pytest

from streamer.errors import InternalTopicError
from streamer.ids import Layout, TopicPartition, is_changelog_of
from streamer.layout import ApplicationLayout, InputLayout, SubtopologyLayout
from streamer.operations.trim.survey import survey
from streamer.snapshot.create import create
from streamer.snapshot.verified import note_verified
from tests.unit.operations.trim.rig import (
    APPLICATION,
    PLACE,
    SETTINGS,
    TASK,
    TOPIC,
    Application,
    Files,
    about,
    usual,
)

LATER = TopicPartition(f"{TOPIC}.layout-2", 3)
LAYOUT = ApplicationLayout(Layout(2), {0: SubtopologyLayout(4, Layout(2), {"in": InputLayout(8)})})


def folded() -> Application:
    """One whose layout 1 has snapshots and a changelog still, and whose layout 2 runs."""
    made = usual()
    made.logs.bounds[LATER] = (0, 400)
    made.logs.settings[LATER.topic] = dict(SETTINGS)
    made.control.layout = LAYOUT
    shelf = made.place.shelf(APPLICATION, TASK, Layout(2))
    for at in (100, 200, 300):
        files = Files(a=b"later %d" % at)
        new = create(made.place, shelf, files, about=about({LATER: at}, made.clock.now_ms()))
        note_verified(shelf, new.manifest.stem, "contents")
    made.says("w1", 390)
    return made


def test_positions_and_snapshots_are_those_of_the_layout_that_runs() -> None:
    world = folded().world()
    seen = world.look(world.tasks())
    assert set(seen.logs[TASK]) == {LATER}
    [copy] = seen.cluster.copies[TASK]
    assert copy.positions == {LATER: 390}
    at = {
        place: one for each in seen.shelves[TASK].snapshots for place, one in each.positions.items()
    }
    assert set(at) == {LATER}
    assert world.shelf(TASK).layout == 2


def test_what_is_cut_is_its_changelog_and_the_former_one_is_nobody_s() -> None:
    made = folded()
    found = survey(made.world(), stores=["totals"])
    assert {part.place for part in found.parts} == {LATER}
    every = survey(made.world())
    assert PLACE in every.strangers
    assert LATER not in every.strangers


def test_a_layout_that_is_recorded_while_it_looks_has_it_look_again() -> None:
    made = folded()
    world = made.world()
    world.tasks()
    made.control.layout = LAYOUT.folded({0: 2})
    with pytest.raises(InternalTopicError, match="layout 3 was recorded meanwhile, after 2"):
        world.look([TASK])


def test_a_changelog_is_known_by_its_name_in_every_layout() -> None:
    assert is_changelog_of("app-totals-changelog", "app", "totals")
    assert is_changelog_of("app-totals-changelog.layout-12", "app", "totals")
    for other in (
        "app-totals-changelog.layout-",
        "app-totals-changelog.layout-2x",
        "app-total-changelog",
    ):
        assert not is_changelog_of(other, "app", "totals")
