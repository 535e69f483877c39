"""What docs/security.md grants to whom, and the application that its commands are tried on."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from tests.broker.secured import Grant, SecuredApplication, granted

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
CITIES, RECORDS = 5, 2_000


def documented(heading: str, application: str) -> list[Grant]:
    """What the commands below a heading grant, for an application of this name."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    topics = {"purchases": f"in-of-{application}", "customer-totals": f"out-of-{application}"}
    commands = re.findall(r"^\$acls (--add (?:.*\\\n)*.*)$", section, re.MULTILINE)
    assert commands, heading
    return [
        grant._replace(name=topics.get(grant.name) or grant.name.replace("spend", application))
        for command in commands
        for grant in granted(command)
    ]


def lacking(grant: Grant, application: str) -> str:
    return str(grant).replace(application, "N")


def purchases(begin: int, count: int) -> list[tuple[str, str]]:
    return [
        (f"customer-{row % 60}", json.dumps({"city": f"city-{row % CITIES}", "cents": row % 100}))
        for row in range(begin, begin + count)
    ]


def check(application: SecuredApplication, count: int) -> None:
    """The sums of all that was written so far; what is doubled or lost shows in them."""
    wanted: Counter[str] = Counter()
    for _customer, text in purchases(0, count):
        wanted[json.loads(text)["city"]] += json.loads(text)["cents"]
    found: dict[str, int] = {}
    for record in application.kafka.read(application.topic("out")):
        city, cents = (record.key or b"").decode(), int(record.value or b"0")
        assert cents >= found.get(city, 0)
        found[city] = cents
    assert found == wanted


def wait_until_done(made: SecuredApplication) -> None:
    alive = [worker for worker in made.workers if worker.is_alive]
    made.wait_until_done(made.topic("in"), f"{made.name}-cities-repartition", watch=alive)


def start_two(made: SecuredApplication) -> None:
    """Two workers that have the documented rights and no others, once they have done all."""
    made.broker.grant(made.name, documented("A worker", made.name))
    made.kafka.produce(made.topic("in"), purchases(0, RECORDS))
    for host in ("a", "b"):
        made.worker(host, commit_interval_ms=50, log_level="DEBUG")
    wait_until_done(made)
