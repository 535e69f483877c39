"""A life of a world, whose failure names the seed that replays it."""

from __future__ import annotations

from typing import TypeVar

from tests.simulation.world import World

__all__ = ["lived"]

Lived = TypeVar("Lived", bound=World)


def lived(world: Lived, steps: int) -> Lived:
    """As `World.live`."""
    try:
        world.live(steps)
    except AssertionError as error:
        raise AssertionError(f"--seed {world.seed} after {world.steps} steps: {error}") from error
    return world
