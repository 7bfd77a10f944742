"""The door to the figures: of a workflow, a node, an agent, a tool, a model, or of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cogwork.metrics.buckets import By, calendar, time_zone
from cogwork.metrics.comparing import Comparison, compared
from cogwork.metrics.figures import COUNTS, THROUGHPUT, Figures, chosen, measured, nothing
from cogwork.metrics.ranges import Moment, TimeRange
from cogwork.metrics.subjects import Known, Subject, ensured, names_of
from cogwork.records.tables.executions import EXECUTIONS
from state.values import Json

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from cogwork.metrics.populations import Population
    from cogwork.records import Records

Range: TypeAlias = TimeRange | str | Sequence[Moment]
OVER_TIME: Final = (
    *COUNTS,
    "p50_duration",
    "p95_duration",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "unpriced_steps",
)
"""The figures of each hour or day of ``throughput``."""
BESIDE: Final = (*COUNTS, "p50_duration", "p95_duration", "retries", "input_tokens", "output_tokens", "cost_usd")
"""The figures of each workflow of an overview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one subject over a range; ``report["success_rate"]`` is one of them.

    ``ended`` is how many succeeded and how many ended, ``workflows`` the figures of each, in an overview.
    """

    subject: Mapping[str, Json]
    range: TimeRange
    figures: Mapping[str, Json]
    ended: tuple[int, int] = (0, 0)
    workflows: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Json:
        return self.figures[name]

    def to_dict(self) -> dict[str, Json]:
        """As plain JSON: ``subject``, ``range``, the figures beside them, and ``workflows`` in an overview."""
        told: dict[str, Json] = {"subject": dict(self.subject), "range": self.range.to_dict(), **self.figures}
        return told | (
            {"workflows": {name: dict(each) for name, each in self.workflows.items()}} if self.workflows else {}
        )


class Metrics:
    """Figures over a time range, computed by the database from the rows of the records.

    All verbs take ``metrics``, the names of the figures that are wanted (all, without it), and for ``throughput`` whether it is
    told ``by`` ``"hour"`` or ``"day"`` of ``timezone``. All raise ``EngineError``: ``invalid_input`` for what cannot be asked,
    ``workflow_not_found`` and ``agent_not_found``, ``database_error``.
    """

    def __init__(
        self,
        records: Records,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        known: Known = lambda kind: (),
    ) -> None:
        self._records, self._now, self._known = records, now, known

    async def workflow(
        self,
        id_or_name: str,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        version: int | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """The executions of a workflow: those under this name, or of this id of the library; perhaps of one version only."""
        subject = Subject(of="workflow", workflow=id_or_name, version=version)
        return await self._report(subject, time_range, metrics, by, timezone)

    async def node(
        self,
        workflow: str,
        node: str,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        version: int | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """The steps of one node of a workflow."""
        subject = Subject(of="node", name=node, workflow=workflow, version=version)
        return await self._report(subject, time_range, metrics, by, timezone)

    async def agent(
        self,
        agent_id: str,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """The turns of an agent, whichever workflow it worked in."""
        return await self._report(Subject(of="agent", name=agent_id), time_range, metrics, by, timezone)

    async def tool(
        self,
        name: str,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """The steps that called a tool; one of which nothing is known has figures of nothing."""
        return await self._report(Subject(of="tool", name=name), time_range, metrics, by, timezone)

    async def model(
        self,
        name: str,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """The steps that asked a model; one of which nothing is known has figures of nothing."""
        return await self._report(Subject(of="model", name=name), time_range, metrics, by, timezone)

    async def overview(
        self,
        time_range: Range = "last_7_days",
        metrics: Sequence[str] | None = None,
        *,
        by: By = "day",
        timezone: str | tzinfo = UTC,
    ) -> Report:
        """All executions, and in ``workflows`` those of each workflow, the busiest first."""
        return await self._report(Subject(of="overview"), time_range, metrics, by, timezone)

    async def compare(
        self,
        id_or_name: str,
        first_range: Range = "last_7_days",
        second_range: Range | None = None,
        *,
        versions: tuple[int | None, int | None] = (None, None),
        metrics: Sequence[str] | None = None,
    ) -> Comparison:
        """A workflow beside itself: in two ranges, two versions in one range, or both."""
        second = first_range if second_range is None else second_range
        wanted = metrics if metrics is not None else [name for name in chosen(None, "executions") if name != THROUGHPUT]
        one = await self.workflow(id_or_name, first_range, wanted, versions[0])
        return compared(one, await self.workflow(id_or_name, second, wanted, versions[1]))

    async def names(self, of: Literal["node", "agent", "tool", "model"]) -> list[str]:
        """The nodes, agents, tools or models that steps have told of."""
        return await self._records.reading(lambda connection: names_of(connection, of))

    async def _report(
        self, subject: Subject, time_range: Range, metrics: Sequence[str] | None, by: By, timezone: str | tzinfo
    ) -> Report:
        wanted, now = chosen(metrics, subject.kind), self._now()

        def read(connection: Connection) -> Report:
            _snapshot(connection)
            zone = time_zone(timezone)
            range = TimeRange.of(time_range, now, zone)
            return _Reading(connection, ensured(connection, subject, self._known), range, now).report(wanted, by, zone)

        return await self._records.reading(read, whole=True)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One report, read in one transaction."""

    connection: Connection
    subject: Subject
    range: TimeRange
    now: datetime

    def report(self, wanted: Sequence[str], by: By, zone: tzinfo) -> Report:
        buckets = self._throughput(by, zone) if THROUGHPUT in wanted else None
        population = self._population(None)
        counted = measured(self.connection, population, {*wanted, "status_counts"}, self.now)
        figures = counted.get(0, nothing({*wanted, "status_counts"}))
        statuses: Mapping[str, int] = figures["status_counts"]
        told = {name: buckets if name == THROUGHPUT else figures[name] for name in wanted}
        return Report(
            subject=self.subject.to_dict(),
            range=self.range,
            figures=told,
            ended=(_sum(statuses, population.good), _sum(statuses, population.ended)),
            workflows=self._workflows(wanted) if self.subject.of == "overview" else {},
        )

    def _population(self, key: Any) -> Population:
        return self.subject.population(self.range, key, self.connection.dialect.name)

    def _throughput(self, by: By, zone: tzinfo) -> list[Figures]:
        told = calendar(self.range, by, zone)
        found = measured(self.connection, self._population(told.key(self.subject.at())), OVER_TIME, self.now)
        return [
            {
                "from": bucket.start.isoformat(),
                "to": bucket.end.isoformat(),
                **found.get(bucket.key, nothing(OVER_TIME)),
            }
            for bucket in told.buckets()
        ]

    def _workflows(self, wanted: Sequence[str]) -> dict[str, Figures]:
        names = {*BESIDE}.intersection(wanted) | {"execution_count"}
        found = measured(self.connection, self._population(EXECUTIONS.c.workflow), names, self.now)
        return dict(sorted(found.items(), key=lambda each: (-each[1]["execution_count"], each[0])))


def _snapshot(connection: Connection) -> None:
    """Have all queries of the transaction see the same rows; on SQLite they do."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _sum(statuses: Mapping[str, int], among: frozenset[str]) -> int:
    return sum(count for status, count in statuses.items() if status in among)
