"""A plan in Markdown, for the page on which somebody approves it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamer.control.operations import OperationRecord
from streamer.control.requests import ProposalRecord
from streamer.operations.books import Books
from streamer.operations.words import size, span

__all__ = ["last_seconds", "of_differences", "of_operation", "of_proposal", "of_step"]

_STEPS_MAX = 12
_MOVES_MAX = 20


def of_operation(
    record: OperationRecord,
    *,
    application: str,
    weight: int = 0,
    seconds: int = 0,
    command: str = "",
) -> str:
    """What is done, what it costs, what cannot be undone. `weight` is about how many bytes it is
    about, `seconds` what the last one took."""
    plan, cost = record.plan, record.plan.cost
    freed = int(record.request.get("freed", 0) or 0)
    reverts = _text(str(record.request.get("reverts", "")))
    time = f"about {span(cost.seconds)}" if cost.seconds else ""
    if seconds:
        time = f"{time}; " * bool(time) + f"the last one took {span(seconds)}"
    rows = {
        "Plan": f"`{record.plan_id[:12]}` of operation `{record.id}`",
        "Takes back": f"operation `{reverts}`" if reverts else "",
        "Bytes": f"about {size(weight)}" if weight else "not known",
        "Of the disks": f"at least {size(freed)} are free then" if freed else "",
        "Offsets": f"{cost.records:,}" if cost.records else "",
        "Time": time or "not known: there was none before",
        "Pause": f"about {cost.pause_ms} ms" if cost.pause_ms else "none: the application goes on",
    }
    lines = [f"### {record.kind} of {_text(application)}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items() if value]
    if plan.no_return:
        lines += ["", f"**Cannot be undone**, from step `{plan.no_return}` on:", ""]
        lines += [f"- {_text(each)}" for each in plan.lost or ("it can only be finished",)]
    else:
        lines += ["", "All of it can be taken back: nothing is deleted."]
    lines += ["", "Steps:", ""]
    shown = plan.steps[:_STEPS_MAX]
    lines += [f"{n}. `{step.id}`: {_text(step.summary)}" for n, step in enumerate(shown, 1)]
    if len(plan.steps) > len(shown):
        lines.append(f"and {len(plan.steps) - len(shown)} more")
    lines += [
        "",
        "Approved is exactly this plan; if the world is another one by then, you are asked",
    ]
    lines += ["again, with a new one."]
    if command:
        lines += ["", f"The same from the command line: `{command}`"]
    return "\n".join(lines)


def of_step(record: OperationRecord, step: str, *, application: str, command: str = "") -> str:
    """What was done by now, and what the `step` does after which there is no way back."""
    plan = record.plan
    at = [one.id for one in plan.steps].index(step)
    lines = [f"### {step}: {_text(plan.steps[at].summary)}", ""]
    lines += [f"Operation `{record.id}` of {_text(application)}, plan `{record.plan_id[:12]}`.", ""]
    pause = f"about {plan.cost.pause_ms} ms" if plan.cost.pause_ms else "none"
    lines += ["| | |", "|---|---|"]
    if reverts := str(record.request.get("reverts", "")):
        lines.append(f"| Takes back | operation `{_text(reverts)}` |")
    lines += [f"| Pause | {pause} |", "", "Done by now:", ""]
    lines += [f"- `{one.id}`: {_text(one.said or one.state)}" for one in record.steps[:at]]
    lines += ["", f"**Cannot be undone**, from step `{step}` on:", ""]
    lines += [f"- {_text(each)}" for each in plan.lost or ("it can only be finished",)]
    lines += [
        "",
        "Until then the application goes on as it is. A rejection takes back what was made.",
    ]
    if command:
        lines += ["", f"The same from the command line: `{command}`"]
    return "\n".join(lines)


def of_differences(found: Sequence[Mapping[str, Any]]) -> str:
    """What a replay has computed beside the live state, store by store."""
    columns = ("same", "added", "changed", "gone", "moving")
    lines = ["Against the live state, in rows:", "", f"| store | {' | '.join(columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for one in found:
        numbers = " | ".join(f"{one[name]:,}" for name in columns)
        lines.append(f"| {_text(one['store'])} | {numbers} |")
    lines += [
        f"\n{_text(one['store'])} is not compared: {_text(one['unknown'])}."
        for one in found
        if one.get("unknown")
    ]
    lines += [
        "",
        "*moving* were written while it looked, and are not compared. The log of `diff` has keys.",
    ]
    return "\n".join(lines)


def of_proposal(proposal: ProposalRecord, why: Sequence[str], *, application: str) -> str:
    """The moves of a placement, and what they mend."""
    lines = [f"### rebalance of {_text(application)}", ""]
    lines += [f"- {_text(each)}" for each in why]
    lines += [
        "",
        "| | |",
        "|---|---|",
        f"| Plan | `{proposal.id}` |",
        f"| Tasks that change | {len(proposal.after):,} |",
        f"| Bytes that are moved | {size(proposal.moved_bytes)} |",
        "| Pause | none: nothing is dropped before others are warm |",
    ]
    for measure, before in sorted(proposal.spread_before.items()):
        after = proposal.spread_after.get(measure, 0)
        lines.append(f"| Fullest worker, above its share of {measure} | {before} % to {after} % |")
    lines += ["", "| task | kind | from | to | bytes | why |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {move.task} | {move.kind} | {_text(move.source)} | {_text(move.target)} |"
        f" {size(move.bytes)} | {_text(move.why)} |"
        for move in proposal.moves[:_MOVES_MAX]
    ]
    if len(proposal.moves) > _MOVES_MAX:
        lines.append(f"\nand more: {len(proposal.moves):,} moves are told")
    lines += ["", "It can be stopped at any time: `streamer rebalance stop`."]
    lines += [f"The same from the command line: `streamer rebalance apply {proposal.id}`"]
    return "\n".join(lines)


def last_seconds(books: Books, kind: str) -> int:
    """How long the steps of the newest operation of this kind took that is done, without what lay
    between them, such as a question; 0 where there is none."""
    done = [one for one in books.operations.values() if one.kind == kind and one.state == "done"]
    newest = max(done, key=lambda one: one.ended_ms, default=None)
    if newest is None:
        return 0
    took_ms = sum(max(step.ended_ms - step.started_ms, 0) for step in newest.steps if step.begun)
    return max(took_ms, 1_000) // 1_000


def _text(given: str) -> str:
    """What others have named cannot end a cell or begin a link."""
    return given.replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;")
