"""The page as a person sees it: a real application on a real Kafka, Airflow's log-in, Chromium."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from streamer.config import Config
from streamer.control.operations import OperationRecord
from streamer.operations.catalog import all_kinds
from streamer.operations.executor import Executor
from streamer.operations.table import KafkaTable
from tests.airflow.page.browsing import answered, contrast, errors_of, logged_in, run_shown
from tests.airflow.page.server import ROOT, Server
from tests.airflow.page.views import large_inventory, troubled, view_of
from tests.broker.conftest import (  # noqa: F401
    Names,
    application,
    broker,
    kafka,
    sandbox,
)
from tests.thorough import thorough
from tests.unit.overview.fleets import LARGE, NOW_MS, fleet_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, FrameLocator, Page

    from tests.broker.workers import Application

PICTURES = ROOT / "docs" / "pictures"
WITH_PICTURES = bool(os.environ.get("STREAMER_PICTURES"))
# It runs as root in containers; and without the others it asks hosts of its maker at every start.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ZONES = ("region=eu,az=eu-1", "region=eu,az=eu-2", "region=eu,az=eu-3")
PARTITIONS = 6
# So slow that there is something to see.
SLOW_BYTES = 8_000

pytestmark = [pytest.mark.broker, pytest.mark.long]


@pytest.fixture(scope="module")
def launched(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def browser(launched: Browser) -> Iterator[Browser]:
    """Its windows go with the test: an open one asks the server every few seconds."""
    yield launched
    for context in launched.contexts:
        context.close()


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """A parameter is the name of an application on a picture; else it is nobody else's."""
    given = getattr(request, "param", "") if WITH_PICTURES else ""
    return Names(given or f"page-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def repository() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="streamer-") as directory:
        yield f"file://{directory}/snapshots"


@pytest.fixture
def shop(
    request: pytest.FixtureRequest,
    application: Callable[..., Application],  # noqa: F811
    repository: str,
) -> Application:
    """Three workers in three zones, each with copies of what the others run, and some records.

    A parameter is how many bytes of snapshots each sends in a second.
    """
    made = application(
        "counts",
        outputs=("totals", "closed", "every"),
        partitions=PARTITIONS,
        standby_replicas=1,
        snapshot_repository=repository,
        snapshot_bytes_per_second=getattr(request, "param", 0),
    )
    made.kafka.produce(made.topic("in"), [(f"key-{at % 900}", str(at)) for at in range(6_000)])
    for host, zone in zip("abc", ZONES, strict=True):
        made.worker(host, worker_id=f"eu-{host}", zone=zone)
    made.wait_until_done(watch=made.workers, timeout=480)
    return made


def config_of(shop: Application) -> Config:
    return Config(
        application_id=shop.name,
        bootstrap_servers=shop.kafka.bootstrap_servers,
        snapshot_repository=str(shop.settings["snapshot_repository"]),
    )


@pytest.fixture
def connection(server: Server, shop: Application) -> str:
    server.connect(
        shop.name,
        shop.kafka.bootstrap_servers,
        application=shop.name,
        repository=str(shop.settings["snapshot_repository"]),
    )
    return shop.name


def proposed(executor: Executor, why: str = "") -> OperationRecord:
    """A snapshot of all tasks, planned as the command line does."""
    name = f"snapshot-{secrets.token_hex(6)}"
    return executor.propose("snapshot", {"order": name}, why=why, operation=name)


@contextmanager
def working(executor: Executor, operation: str) -> Iterator[None]:
    """Carries it out in a thread meanwhile. Used by nobody else then."""
    thread = threading.Thread(target=executor.start, args=(operation,))
    thread.start()
    try:
        yield
    finally:
        thread.join(240)
    assert not thread.is_alive()


def picture(page: Page, name: str) -> None:
    """Of what a large window shows; kept in docs where it was asked for."""
    page.set_viewport_size({"width": 1360, "height": 1200})
    height = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    clip: FloatRect = {"x": 0, "y": 0, "width": 1360, "height": min(height, 1200)}
    taken = page.screenshot(type="png", clip=clip)
    assert len(taken) > 10_000
    if WITH_PICTURES:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / f"{name}.png").write_bytes(taken)


def frame(page: Page, server: Server, connection: str) -> FrameLocator:
    """The page inside Airflow, by its place in the navigation."""
    page.goto(f"{server.url}/plugin/streamer")
    inside = page.frame_locator("iframe")
    inside.locator("#connection").select_option(connection)
    inside.locator("#map .zone").first.wait_for()
    return inside


def test_the_map_is_seen_inside_airflow(
    browser: Browser, server: Server, shop: Application, connection: str
) -> None:
    page = logged_in(browser, server, "vic")
    errors = errors_of(page)
    page.get_by_role("link", name="Streamer").first.wait_for()
    inside = frame(page, server, connection)

    inside.get_by_role("heading", name="Violations and alarms").wait_for()
    for zone in ZONES:
        inside.get_by_role("link", name=zone, exact=True).wait_for()
    inside.locator("#map .cells a.A").nth(PARTITIONS - 1).wait_for()
    inside.locator("#map .cells a.s").nth(PARTITIONS - 1).wait_for()
    inside.locator("#stores").get_by_role("cell", name=shop.changelog("totals")).wait_for()
    inside.locator("#heard", has_text="heard").wait_for()
    assert inside.locator("#alarms .alarm").count() == 0

    # The same as a table, by the keyboard alone.
    inside.get_by_role("button", name="Table").focus()
    page.keyboard.press("Enter")
    inside.locator("#map caption", has_text="Workers").wait_for()
    assert inside.locator("#map table").nth(1).locator("tbody tr").count() == 3

    # A lost worker is told within seconds, first of all.
    shop.workers[0].kill()
    inside.locator("#alarms li", has_text="gone without a word").wait_for()
    assert errors == []


def test_a_worker_and_a_task_are_looked_at_by_themselves(
    browser: Browser, server: Server, connection: str
) -> None:
    page = logged_in(browser, server, "vic")
    page.goto(f"{server.url}/streamer/?connection={connection}#worker=eu-b")
    page.get_by_role("heading", name="Worker eu-b").wait_for()
    page.locator("#detail").get_by_role("link", name="0_", exact=False).first.click()
    page.get_by_role("heading", name="Task 0_").wait_for()
    assert page.locator("#detail table tbody tr").count() == 2
    page.get_by_role("link", name="All of the application").click()
    page.locator("#map .zone").first.wait_for()
    page.go_back()
    page.get_by_role("heading", name="Task 0_").wait_for()


@pytest.mark.parametrize(("shop", "names"), [(SLOW_BYTES, "returns")], indirect=True)
def test_an_operation_is_followed_to_its_end(
    browser: Browser,
    server: Server,
    shop: Application,
    connection: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Who asks for it stands on the picture.
    monkeypatch.setenv("LOGNAME", "airflow")
    monkeypatch.setattr("socket.gethostname", lambda: "conductor")
    config = config_of(shop)
    page = logged_in(browser, server, "vic")
    page.goto(f"{server.url}/streamer/?connection={connection}")
    page.locator("#map .zone").first.wait_for()
    why = "Airflow, DAG snapshot_stores, run manual__1"
    with Executor(config, KafkaTable(config), all_kinds()) as executor:
        planned = proposed(executor, why=why)
        page.get_by_role("link", name=planned.id).click()
        page.get_by_role("heading", name=f"Operation {planned.id}").wait_for()
        page.locator("#detail .state", has_text="planned").first.wait_for()
        assert why in page.locator("#detail").inner_text()
        # Who may only look is offered nothing else.
        assert page.get_by_role("button", name="Cancel this operation").count() == 0
        with working(executor, planned.id):
            page.locator("#detail .state.busy", has_text="running").first.wait_for()
            page.locator("#detail progress").first.wait_for()
            page.locator("#detail .facts", has_text="left").first.wait_for()
            picture(page, "streamer-page-operation")
            page.locator("#detail .head .state.good", has_text="done").first.wait_for()
    # Beside the run that asked for it, it is the only one that is shown.
    page.goto(f"{server.url}/streamer/?dag=snapshot_stores&run=manual__1&connection={connection}")
    page.locator("#operations", has_text=planned.id).wait_for()
    page.goto(f"{server.url}/streamer/?dag=snapshot_stores&run=manual__2&connection={connection}")
    page.get_by_text("This run has not begun any").wait_for()
    assert page.locator("#map").is_hidden()

    page.goto(f"{server.url}/streamer/?connection={connection}")
    page.locator(
        "#stores", has_text=f"{PARTITIONS} of {PARTITIONS} tasks have a snapshot"
    ).wait_for()


@thorough
def test_whoever_may_act_cancels_an_operation(
    browser: Browser, server: Server, shop: Application, connection: str
) -> None:
    config = config_of(shop)
    with Executor(config, KafkaTable(config), all_kinds()) as executor:
        planned = proposed(executor)
        page = logged_in(browser, server, "ann")
        page.goto(f"{server.url}/streamer/?connection={connection}#operation={planned.id}")
        page.get_by_label("why it is cancelled").fill("not today")
        page.get_by_role("button", name="Cancel this operation").click()
        page.locator("#detail .state", has_text="cancelled").first.wait_for()
        wish = executor.books().cancel(planned.id)
    assert wish is not None
    assert wish.why == "not today, by ann on the page in Airflow"


@thorough
def test_kafka_away_is_said_and_what_was_seen_stays(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    from streamer.sandbox import Sandbox
    from tests.broker.cluster import cluster_of

    with Sandbox() as own:
        with cluster_of(
            own.bootstrap_servers, "away", results="none", log=tmp_path / "log"
        ) as cluster:
            cluster.start_two()
            server.connect("away", own.bootstrap_servers, application="away")
            page = logged_in(browser, server, "vic")
            page.goto(f"{server.url}/streamer/?connection=away")
            page.locator("#map .worker").nth(1).wait_for()
        own.stop()
        page.locator("#trouble", has_text="What is shown is old").wait_for(timeout=150_000)
        assert page.locator("#map .worker").count() == 2
        assert "is-late" in (page.locator("#heard").get_attribute("class") or "")


@thorough
@pytest.mark.parametrize(
    ("scheme", "names"), [("dark", "orders"), ("light", "shop")], indirect=["names"]
)
def test_it_is_readable_in_light_and_dark(
    browser: Browser, server: Server, shop: Application, connection: str, scheme: str
) -> None:
    config = config_of(shop)
    page = logged_in(browser, server, "vic", color_scheme=scheme)
    page.goto(f"{server.url}/streamer/?connection={connection}")
    page.locator("#map .cells a.s").nth(PARTITIONS - 1).wait_for()
    with Executor(config, KafkaTable(config), all_kinds()) as executor:
        executor.start(proposed(executor, why="before the release").id)
    page.locator("#stores", has_text=f"{PARTITIONS} of {PARTITIONS} tasks").wait_for()
    for place in ("body", "#map .cells a.A", "#map .cells a.s", ".soft", "#map a"):
        assert contrast(page, place) >= 4.5, place
    picture(page, f"streamer-page-{scheme}")


def test_1_200_workers_are_readable_and_quick(browser: Browser, server: Server) -> None:
    """A fleet that no small machine can run: records made by the codecs; all else is real."""
    from streamer_airflow.web import documents

    view = view_of(troubled(fleet_of(LARGE)), inventory=large_inventory())
    state = msgspec.json.encode(documents.state(view)).decode()
    zone = msgspec.json.encode(documents.zone(view, "cloud=a,region=eu,az=eu-2", 0)).decode()
    page = logged_in(browser, server, "vic")
    errors = errors_of(page)
    headers = {"X-Streamer-Now": str(NOW_MS + 2_000), "X-Streamer-Heard": str(NOW_MS)}
    told = {"connections": ["fleet"], "may_act": False}
    answered(page, "connections", json.dumps(told), headers)
    answered(page, "fleet/state", state, headers)
    answered(page, "fleet/zone?*", zone, headers)
    page.goto(f"{server.url}/streamer/")
    page.locator("#map .zone").nth(2).wait_for()
    assert page.locator("#map rect").count() == 1_200
    assert page.locator("#alarms li").count() > 5
    # Everything is a few hundred elements, and drawing all of it anew is no work to speak of.
    assert page.evaluate("document.querySelectorAll('*').length") < 4_000
    picture(page, "streamer-page-fleet")

    page.get_by_role("link", name="cloud=a,region=eu,az=eu-2", exact=True).first.click()
    page.get_by_role("heading", name="Zone cloud=a,region=eu,az=eu-2").wait_for()
    assert page.locator("#detail tbody tr").count() == 100
    page.get_by_text("1 to 100 of 400").wait_for()
    assert errors == []


@thorough
def test_a_run_is_found_though_other_applications_are_away(
    browser: Browser, server: Server
) -> None:
    page = logged_in(browser, server, "vic")
    errors = errors_of(page)
    run_shown(page, server, "own_dag", ["away", "slow", "empty", "mine"])
    page.locator("#operations .job, #operations details").first.wait_for()
    assert page.locator("#connection").input_value() == "mine"
    assert page.locator("#trouble").is_hidden()
    assert errors == []


@thorough
def test_a_run_that_nobody_knows_yet_is_looked_for_where_somebody_answers(
    browser: Browser, server: Server
) -> None:
    page = logged_in(browser, server, "vic")
    asked = run_shown(page, server, "own_dag", ["away", "slow", "empty"])
    page.get_by_text("This run has not begun any").wait_for()
    assert page.locator("#connection").input_value() == "empty"
    assert {"away", "slow", "empty"} <= set(asked)


@thorough
def test_the_run_of_a_dag_with_its_connections_name_is_looked_for_there_alone(
    browser: Browser, server: Server
) -> None:
    page = logged_in(browser, server, "vic")
    asked = run_shown(page, server, "trim_changelogs__mine", ["away", "slow", "mine"])
    page.locator("#operations .job, #operations details").first.wait_for()
    assert set(asked) == {"mine"}
