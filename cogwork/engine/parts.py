"""The parts of the engine, opened together and closed in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from cogwork.engine.dispatch import Dispatch
from cogwork.engine.graphs import KeptGraphs
from cogwork.engine.queue import QueueClient, QueueLimits, Queues
from cogwork.engine.segments import Segments
from cogwork.engine.starting import Starting
from cogwork.engine.talks import Talks
from cogwork.executions.history import History
from cogwork.executions.recorder import Recorder
from cogwork.executions.store import Executions, utc_now
from cogwork.records import Records
from cogwork.remote.placing import Place

if TYPE_CHECKING:
    from cogwork.library.library import Library
    from cogwork.observability.telemetry import Telemetry
    from cogwork.records.bundles import Bundles
    from cogwork.remote.instances import Instances
    from cogwork.sections import QueueSection
    from cogwork.settings import Settings
    from cogwork.store.checkpoints import SqliteCheckpoints
    from cogwork.store.postgres import PostgresCheckpoints
    from graphs.graph import WorkflowGraph
    from graphs.language.load import Workflow


class House(Protocol):
    """What the engine needs of cogwork as it is wired."""

    @property
    def settings(self) -> Settings:
        """What is set."""

    @property
    def telemetry(self) -> Telemetry:
        """What is seen of all this from outside."""

    @property
    def instances(self) -> Instances:
        """The other instances."""

    def records(self) -> Records:
        """The records, opened once."""

    def checkpoints(self) -> SqliteCheckpoints | PostgresCheckpoints:
        """The checkpoints; the caller closes them."""

    def specs(self) -> Bundles:
        """The specs that runs began with, from before there were records."""

    def load(self, source: Any, overrides: Mapping[str, Any] | None = None) -> Workflow:
        """The workflow that ``source`` means."""

    def compile(
        self, source: Any, *, checkpointer: Any = None, resolve: Callable[..., Any] | None = None
    ) -> WorkflowGraph:
        """The compiled graph of a workflow."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """What one event loop needs to start, run and move executions; ``shared`` with others are records and checkpoints."""

    house: House
    library: Library
    records: Records
    saver: SqliteCheckpoints | PostgresCheckpoints
    queues: Queues
    executions: Executions
    history: History
    recorder: Recorder
    bundles: Bundles
    graphs: KeptGraphs
    segments: Segments
    talks: Talks
    starting: Starting
    dispatch: Dispatch
    queue: Callable[[], QueueClient] = field(repr=False)

    async def close(self) -> None:
        """Write what waits to be written, and end the fork server of isolated executions."""
        await self.history.close()
        await self.graphs.close()


class Shared:
    """Records, checkpoints and the queue's client of a process; opened when they are first needed."""

    def __init__(self, house: House, *, now: Callable[[], datetime] = utc_now, origin: str = "python") -> None:
        self.house, self.now, self.origin = house, now, origin
        self.records = house.records()
        self.saver = house.checkpoints()
        self.queues = queues_of(house.settings, self.records)
        self.talks = Talks(Executions(self.records, now=now), house.settings)
        self._client: QueueClient | None = None
        self._gate = threading.Lock()

    def library(self) -> Library:
        """A library over the records."""
        from cogwork.library.library import Library

        return Library(self.records, cast("Any", self.house), now=self.now)

    def queue(self) -> QueueClient:
        """The queue's client."""
        with self._gate:
            if self._client is None:
                self._client = QueueClient(self.queues)
            return self._client

    def parts(self, library: Library | None = None) -> Parts:
        """The parts for one event loop; with the library whose code workflows this process has at hand, else one of its own."""
        library = library or self.library()
        house, records, saver = self.house, self.records, self.saver
        onlookers = house.telemetry.onlookers
        executions, history = Executions(records, now=self.now, onlookers=onlookers), History(records)
        recorder = Recorder(records, history, origin=self.origin, now=self.now, onlookers=onlookers)
        bundles = house.specs()
        graphs = KeptGraphs(bundles, house, saver, recorder, library)
        segments = Segments(
            executions, recorder, graphs, saver, talks=self.talks, labels=frozenset(house.settings.labels)
        )
        return Parts(
            house=house,
            library=library,
            records=records,
            saver=saver,
            queues=self.queues,
            executions=executions,
            history=history,
            recorder=recorder,
            bundles=bundles,
            graphs=graphs,
            segments=segments,
            talks=self.talks,
            starting=Starting(library, graphs, self.origin, self.talks, self._place()),
            dispatch=Dispatch(executions, segments, saver, self.queue),
            queue=self.queue,
        )

    def _place(self) -> Place:
        """Where executions may run."""
        house = self.house
        labels, policy = frozenset(house.settings.labels), house.settings.remote.policy
        return Place(labels=labels, instances=house.instances, policy=policy)

    def close(self) -> None:
        """Close the queue's client and the checkpoints; the records belong to the house."""
        if self._client is not None:
            self._client.close()
        self.talks.close()
        self.saver.close()


def queues_of(settings: Settings, records: Records) -> Queues:
    """The queues of the settings; on PostgreSQL their tables stand in a schema beside that of the records."""
    path = settings.state_dir / "queue.sqlite"
    limits = {name: _limits(section) for name, section in settings.queues.items()}
    patterns = {name: tuple(section.workflows) for name, section in settings.queues.items()}
    if settings.database_url is None:
        return Queues(path=path, limits=limits, patterns=patterns)
    schema = records.read(lambda connection: connection.exec_driver_sql("SELECT current_schema()").scalar())
    own = "cogwork_queue" if schema in (None, "public") else f"{schema}_queue"
    return Queues(path=path, url=settings.database_url, schema=own, limits=limits, patterns=patterns)


def _limits(section: QueueSection) -> QueueLimits:
    return QueueLimits(
        concurrency=section.concurrency,
        per_worker=section.per_worker,
        per=section.per,
        per_concurrency=section.per_concurrency,
        rate=(section.rate.limit, section.rate.period) if section.rate is not None else None,
    )
