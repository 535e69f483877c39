"""What tests of the page do with a browser, whatever they look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from tests.airflow.page.server import Server
from tests.airflow.page.views import view_of
from tests.unit.overview.fleets import NOW_MS, fleet_of
from tests.unit.overview.records import books_of, operation

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

__all__ = ["WAIT_MS", "answered", "contrast", "errors_of", "logged_in", "run_shown"]

WAIT_MS = 120_000


def logged_in(browser: Browser, server: Server, user: str, **look: Any) -> Page:
    """A window of a user who has logged in by the form."""
    context = browser.new_context(viewport={"width": 1360, "height": 900}, **look)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(server.url)
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", user)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)
    return page


def errors_of(page: Page) -> list[str]:
    """What the browser complains about while the page is used."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console",
        lambda line: (
            found.append(line.text)
            if line.type == "error" and "/streamer/" in str(line.location.get("url", ""))
            else None
        ),
    )
    return found


def answered(page: Page, path: str, body: str, headers: dict[str, str]) -> None:
    """Have the browser find this in the place of what the server would say."""

    def give(route: Route) -> None:
        route.fulfill(body=body, headers={**headers, "Content-Type": "application/json"})

    page.route(f"**/streamer/api/{path}", give)


def run_shown(page: Page, server: Server, dag: str, connections: list[str]) -> list[str]:
    """The tab of a run: of `connections` the application "away" is not reached, "slow" never
    answers, and "mine" has the run's operation. Which ones were asked."""
    drawn = fleet_of({f"az={zone}": 2 for zone in "abc"}, per_worker=2)
    drawn.books = books_of(operation("trim-1"))
    state = documents_of(view_of(drawn))
    heard = {"X-Streamer-Now": str(NOW_MS + 2_000), "X-Streamer-Heard": str(NOW_MS)}
    why = f"Airflow, DAG {dag}, run manual__1"
    rows = [{**row, "why": why} for row in state["operations"][:1]]
    asked: list[str] = []

    def give(route: Route) -> None:
        one = route.request.url.split("/")[-2]
        asked.append(one)
        if one == "slow":
            return
        trouble = {"message": "Kafka is away", "hint": "look there", "since_ms": NOW_MS}
        told = {
            "away": {"is_read": False, "trouble": trouble},
            "mine": {**state, "operations": rows},
        }.get(one, {**state, "operations": []})
        route.fulfill(body=json.dumps(told), headers={**heard, "Content-Type": "application/json"})

    answered(page, "connections", json.dumps({"connections": connections, "may_act": False}), {})
    page.route("**/streamer/api/*/state", give)
    page.goto(f"{server.url}/streamer/?dag={dag}&run=manual__1")
    return asked


def documents_of(view: Any) -> dict[str, Any]:
    from streamer_airflow.web import documents

    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(documents.state(view)))
    return found


def contrast(page: Page, selector: str) -> float:
    """WCAG's ratio of a text to what lies behind it."""
    colours = page.locator(selector).first.evaluate(
        """(element) => {
          const behind = (one) => {
            for (; one; one = one.parentElement) {
              const found = getComputedStyle(one).backgroundColor;
              if (!/, 0\\)$|transparent/.test(found)) return found;
            }
            return "rgb(255, 255, 255)";
          };
          return [getComputedStyle(element).color, behind(element)];
        }"""
    )
    lighter, darker = sorted((luminance(each) for each in colours), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
