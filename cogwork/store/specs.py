"""The specs that runs began with, kept by their content, so that a changed file changes no open run."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cogwork.sealing.keys import Ring
from cogwork.sealing.seals import Seals, place_of_file
from cogwork.store.errors import StoreError
from graphs.graph import WorkflowGraph
from graphs.language.dump import to_dict
from graphs.language.load import Workflow, load


class SpecStore:
    """A folder of bundles: a workflow and all that it uses, as canonical JSON under its digest."""

    def __init__(self, folder: Path, ring: Ring | None = None) -> None:
        self.folder, self._seals = folder, Seals(ring=ring or Ring(), where=str(folder))

    def keep(self, graph: WorkflowGraph) -> str:
        """Store what the graph was built from; the digest that finds it again."""
        digest = graph.digest
        path = self._path(digest)
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            bundle = [to_dict(document.spec) for document in graph.plan.documents]
            handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
            with os.fdopen(handle, "wb") as file:
                file.write(self._seals.sealed(json.dumps(bundle, ensure_ascii=False).encode(), place_of_file(path)))
            os.replace(temporary, path)
        return digest

    def find(self, digest: str) -> tuple[Workflow, Callable[[str, Workflow], Workflow | None]]:
        """The workflow of that digest, and what finds the workflows that it uses.

        Raises:
            StoreError: the bundle is not there or cannot be read.
        """
        path = self._path(digest)
        try:
            bundle = json.loads(self._seals.opened(path.read_bytes(), place_of_file(path)))
            workflows = [load(spec, file=f"<kept {digest[:12]}>") for spec in bundle]
        except (OSError, ValueError) as err:
            raise StoreError(f"The spec {digest[:12]} that the run began with cannot be read: {err}") from err
        rest = iter(workflows[1:])
        return workflows[0], lambda name, user: next(rest, None)

    def _path(self, digest: str) -> Path:
        if not digest.isalnum():
            raise StoreError(f"{digest!r} is no digest of a spec")
        return self.folder / f"{digest}.json"
