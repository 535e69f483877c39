"""A proposal as large as a fleet makes it."""

from __future__ import annotations

from streamer.control.requests import MoveRecord, ProposalRecord

__all__ = ["LONGEST", "TASKS", "made"]

# As many as move where a zone of 1,200 workers is emptied, each with a copy that goes as well.
TASKS = 4_000
# As long as the name of a worker may be.
LONGEST = "w" * 115 + "-{:04}"


def made(
    tasks: int = TASKS,
    number: str = "n",
    *,
    name: str = "a-long-name-of-a-worker-in-a-zone-{}",
    copies: int = 1,
) -> ProposalRecord:
    after = {
        f"0_{at}": tuple(name.format(at % (1_200 - one)) for one in range(copies + 1))
        for at in range(tasks)
    }
    moves = tuple(
        MoveRecord(
            task=task,
            kind=kind,
            source=name.format(7),
            target=target,
            bytes=1 << 40,
            why=f"balance: {target} has 12 % less bytes than its share, {name.format(7)} has more",
        )
        for task, targets in after.items()
        for kind, target in zip(("active", *["standby"] * copies), targets, strict=True)
    )
    before = {task: (name.format(7), *targets[1:]) for task, targets in after.items()}
    return ProposalRecord(id="p", number=number, before=before, after=after, moves=moves)
