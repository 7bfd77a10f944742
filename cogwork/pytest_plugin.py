"""The pytest plugin: each test that a workflow holds is a test of the suite. ``pytest --cogwork-specs 'workflows/*.yaml'``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from graphs.simulation.cases import CaseResult


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cogwork-specs`` and the setting ``cogwork_specs``."""
    group = parser.getgroup("cogwork")
    group.addoption(
        "--cogwork-specs",
        action="append",
        default=[],
        metavar="GLOB",
        help="Collect the tests of the workflows that match, seen from the root directory; may be repeated.",
    )
    parser.addini("cogwork_specs", "Globs of workflows whose tests are collected.", type="args", default=[])


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Add the workflows to what is collected: those of the option always, those of the setting where no test is named."""
    wanted = list(config.getoption("--cogwork-specs"))
    if config.args_source != pytest.Config.ArgsSource.ARGS or wanted:
        wanted += config.getini("cogwork_specs")
    for path in _matching(config, wanted):
        if str(path) not in config.args:
            config.args.append(str(path))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SpecFile | None:
    """The workflow file as a collector, where it is among those that are named."""
    config = parent.config
    wanted = [*config.getoption("--cogwork-specs"), *config.getini("cogwork_specs")]
    if not wanted or file_path.suffix not in (".yaml", ".yml", ".json"):
        return None
    return SpecFile.from_parent(parent, path=file_path) if file_path in _matching(config, wanted) else None


def _matching(config: pytest.Config, globs: list[str]) -> list[Path]:
    """The files that match, sorted, each once."""
    return sorted({path for glob in globs for path in _found(config.rootpath, glob) if path.is_file()})


def _found(root: Path, glob: str) -> Iterator[Path]:
    path = Path(glob)
    if path.is_absolute():
        base = Path(path.anchor)
        return base.glob(str(path.relative_to(base)))
    return root.glob(glob)


class SpecFile(pytest.File):
    """A workflow file; its tests are run together, when the first one is wanted."""

    _results: dict[str, CaseResult] | None = None

    def collect(self) -> Iterator[SpecItem]:
        """One item for each test."""
        from cogwork.app import app

        for name in app().load(self.path).spec.tests:
            yield SpecItem.from_parent(self, name=name)

    def result(self, name: str) -> CaseResult:
        """What became of one test."""
        if self._results is None:
            from cogwork.app import app
            from cogwork.simulation import tested

            self._results = {result.name: result for result in tested(app(), self.path)}
        return self._results[name]


class SpecFailure(Exception):
    """A test of a workflow that did not come out as expected."""


class SpecItem(pytest.Item):
    """One test of a workflow."""

    parent: SpecFile

    def runtest(self) -> None:
        """Fails with every difference."""
        result = self.parent.result(self.name)
        for warning in result.warnings:
            self.add_report_section("call", "warnings", warning)
        if not result.passed:
            raise SpecFailure("\n".join(str(difference) for difference in result.differences))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The differences without a traceback, or the problems of the workflow."""
        from state.errors import CogworkError

        if isinstance(excinfo.value, SpecFailure | CogworkError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test stands."""
        return self.path, 0, f"{self.path.name}: {self.name}"
