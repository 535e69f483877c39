"""What the operation `snapshot` sees: the workers' words, the order that stands, a repository."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack

from streamer.clock import SystemClock
from streamer.closable import Closable
from streamer.config import Config
from streamer.control.client import Control
from streamer.control.current import current_layout
from streamer.control.orders import SNAPSHOT_KEY, SnapshotOrder, decode_order
from streamer.control.topics import ControlTopics
from streamer.errors import ConfigError, RepositoryError, SnapshotError
from streamer.ids import TaskId
from streamer.kafka.admin import Admin
from streamer.kafka.table import TableReader
from streamer.layout import ApplicationLayout
from streamer.operations.snapshot import Told
from streamer.snapshot.listing import made_for
from streamer.snapshot.opening import open_repository
from streamer.snapshot.repository import Repository
from streamer.snapshot.verified import verified

__all__ = ["KafkaWorld"]

_log = logging.getLogger(__name__)

_READ_S = 30.0
_PAUSE_S = 1.0


class KafkaWorld(Closable):
    """A `World`. `repository` is the address of the order; "" is that of the settings, if any.

    Where this host does not see the repository, such as another host's directory, what workers say
    has to do: they look there themselves.
    """

    def __init__(self, config: Config, repository: str = "") -> None:
        self._config = config
        self.repository = repository or config.snapshot_repository
        self._clock = SystemClock()
        with ExitStack() as stack:
            self._admin = Admin(config)
            self._control = stack.enter_context(Control(config))
            self.place = ControlTopics.find(config, self._admin).orders
            self._reader = stack.enter_context(TableReader(config, [self.place]))
            self._open = stack.pop_all()
        self._known: dict[str, Told] = {}
        self._standing: SnapshotOrder | None = None
        self._made: set[tuple[str, str]] = set()
        self._opened: Repository | None = None
        self._layout: ApplicationLayout | None = None
        self._is_unseen = not self.repository

    def tasks(self) -> Mapping[str, Told]:
        if not self._known:
            # Which there are is asked once: it changes with the topology alone.
            self._known = {each.task: Told("", None) for each in self._control.tasks()}
        reports = self._control.reports()
        return self._known | {task: Told(*said) for task, said in reports.items()}

    def order(self) -> SnapshotOrder | None:
        # Up to the high watermark: a commit is told before its markers are written.
        ends = self._admin.ends([self.place], "read_uncommitted")
        for row in self._reader.read_to(ends, timeout_s=_READ_S):
            if row.key == SNAPSHOT_KEY:
                self._standing = None
                if row.value is not None:
                    found = decode_order(self.place.topic, row.key, row.value)
                    assert isinstance(found, SnapshotOrder)
                    self._standing = found
        return self._standing

    def is_made(self, operation: str, task: str) -> bool:
        if (operation, task) in self._made:
            return True
        try:
            repository = self._seen()
            if repository is None:
                return False
            number = TaskId.parse(task)
            since = self._current().since(number.subtopology)
            shelf = repository.shelf(self._config.application_id, number, since)
            made = made_for(shelf, operation)
            # The worker that died before it could look at its snapshot does so when it is back.
            if made is None or made.stem not in verified(shelf):
                return False
        except (ConfigError, RepositoryError, SnapshotError) as error:
            _log.warning("the repository is not seen from here, workers are asked: %s", error)
            self._is_unseen = True
            return False
        # A snapshot that was made has been made, also where a prune has removed it since.
        self._made.add((operation, task))
        return True

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def pause(self) -> None:
        time.sleep(_PAUSE_S)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._open.close()

    def _current(self) -> ApplicationLayout:
        """Asked once: an operation that changes it does not run beside this one."""
        if self._layout is None:
            self._layout = current_layout(self._config, self._admin) or ApplicationLayout()
        return self._layout

    def _seen(self) -> Repository | None:
        if self._opened is None and not self._is_unseen:
            self._opened = open_repository(self._config, self.repository)
        return None if self._is_unseen else self._opened
