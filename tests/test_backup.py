"""Backups are of one instant, whatever goes on; they come back whole or not at all, and trust nothing that they read."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import cogwork
from cogwork import WorkflowEngine
from cogwork.app import app
from cogwork.backup.archive import checked
from cogwork.backup.errors import BackupError, Unsound
from cogwork.backup.manifest import FILES, NAME, Manifest
from cogwork.backup.restoring import restore
from cogwork.backup.saving import save
from cogwork.backup.snapshot import copied
from cogwork.cli.root import cli
from cogwork.sealing.encrypting import encrypted
from cogwork.settings import Settings
from cogwork.store.runs import Runs
from tests.sealed import CANARIES, KEYS, goes_on, leaks, leaks_in, resting
from tests.sealed import tools as sealed_tools
from tests.test_sealing import ID_ONE, database
from tests.threads import until

pytestmark = pytest.mark.req("M8")
STEPS = 6
CHAIN: dict[str, Any] = {
    "cogwork": "v1",
    "name": "chain",
    "input": {"of": {"type": "integer"}},
    "nodes": {
        f"s{number}": {
            "type": "tool",
            "tool": "mark",
            "args": {"of": "{{ input.of }}", "step": f"s{number}"},
            **({"depends_on": f"s{number - 1}"} if number else {}),
        }
        for number in range(STEPS)
    },
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys, in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def marking(marked: Counter[tuple[int, str]], gate: threading.Event | None = None) -> Any:
    """A tool that counts what it did; what it does takes a moment, and in the last steps as long as the gate is shut."""

    @cogwork.tool(effect="write", idempotent=True, description="Do it.")
    async def mark(of: int, step: str) -> str:
        await asyncio.sleep(0.02)
        while gate is not None and step > "s3" and not gate.is_set():
            await asyncio.sleep(0.02)
        marked[of, step] += 1
        return "x" * 500

    return mark


def settings(state: Path, **more: Any) -> Settings:
    """Settings of this folder."""
    return Settings(state_dir=state, workflows=[], **more)


async def done_in(engine: WorkflowEngine, names: list[str]) -> set[tuple[int, str]]:
    """The steps that are done, by the checkpoints and the calls of the executions."""
    done: set[tuple[int, str]] = set()
    for number, name in enumerate(names):
        saver = engine.parts.saver
        summary = await asyncio.to_thread(Runs(saver, lambda _: False).of, name)
        if summary is not None:
            nodes = summary.values.get("nodes", {})
            done |= {(number, step) for step, record in nodes.items() if record.get("status") == "done"}
            calls = await saver.calls.of_run(name, summary.run)
            done |= {(number, call.step) for call in calls.values() if call.status == "done"}
    return done


async def busy(made: WorkflowEngine, marked: Counter[tuple[int, str]], enough: int) -> list[str]:
    """Executions at work, of which so many steps are done."""
    known = (await made.list_workflows())["workflows"]
    name = known[0]["id"] if known else await made.create_workflow(source=CHAIN)
    names = [(await made.execute_workflow(name, {"of": number})).id for number in range(6)]
    await until(lambda: sum(marked.values()) >= enough)
    return names


async def all_end(names: list[str], taken: Settings) -> None:
    """Let what was restored go to its end: nothing that was done by the backup is done again, and nothing is left out."""
    async with WorkflowEngine(settings=taken, worker=False, tools=[marking(Counter())]) as looked:
        before = await done_in(looked, names)
    again: Counter[tuple[int, str]] = Counter()
    async with WorkflowEngine(settings=taken, tools=[marking(again)]) as made:
        for name in names:
            await until(lambda name=name: _ended(made, name))  # type: ignore[misc]
            assert (await made.get_execution_result(name))["status"] == "completed"
    assert before and len(before) < STEPS * len(names)
    assert before.isdisjoint(again)
    assert before | set(again) == {(number, f"s{step}") for number in range(len(names)) for step in range(STEPS)}


async def _ended(made: WorkflowEngine, name: str) -> bool:
    return (await made.get_execution_status(name))["status"] in ("completed", "failed", "cancelled")


async def test_a_backup_in_the_middle_of_executions_goes_on_elsewhere_and_repeats_nothing(tmp_path: Path) -> None:
    marked: Counter[tuple[int, str]] = Counter()
    taken = settings(tmp_path / "state")
    gate = threading.Event()
    async with WorkflowEngine(settings=taken, tools=[marking(marked, gate)]) as made:
        names = await busy(made, marked, 14)
        manifest = await asyncio.to_thread(save, taken, tmp_path / "backup.tar.gz")
        gate.set()
        assert {f"{FILES}{name}.sqlite" for name in ("records", "checkpoints", "queue")} <= set(manifest.members)
        for name in names:
            await until(lambda name=name: _ended(made, name))  # type: ignore[misc]
    assert len(marked) == STEPS * len(names)
    restore(tmp_path / "backup.tar.gz", tmp_path / "elsewhere")
    await all_end(names, settings(tmp_path / "elsewhere"))


@pytest.mark.req("M9")
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_everything_is_sealed_while_executions_are_at_work(tmp_path: Path, where: str) -> None:
    with database() if where == "postgresql" else nullcontext() as url:
        more = {"database_url": url} if url is not None else {}
        marked: Counter[tuple[int, str]] = Counter()
        async with WorkflowEngine(settings=settings(tmp_path, **more), tools=[marking(marked)]) as made:
            names = await busy(made, marked, 9)
        sealing = settings(tmp_path, encryption_keys=[{"env": "KEY_ONE"}], **more)
        gate = threading.Event()
        async with WorkflowEngine(settings=sealing, tools=[marking(marked, gate)]) as made:
            more_names = await busy(made, marked, 14)
            house = app(sealing)
            left = [
                step for step in await asyncio.to_thread(lambda: [*encrypted(house)]) if step.part == "still in use"
            ]
            house.close()
            gate.set()
            for name in (*names, *more_names):
                await until(lambda name=name: _ended(made, name))  # type: ignore[misc]
                assert (await made.get_execution_result(name))["status"] == "completed"
        assert len(left) == 1 and set(marked.values()) <= {1, 2, 3}
        house = app(sealing)
        assert [step.looked for step in encrypted(house) if step.part == "still in use"] == [0]
        house.close()


async def test_a_backup_of_postgresql_in_the_middle_of_executions_replaces_what_came_after(tmp_path: Path) -> None:
    marked: Counter[tuple[int, str]] = Counter()
    with database() as url:
        taken = settings(tmp_path / "state", database_url=url)
        gate = threading.Event()
        async with WorkflowEngine(settings=taken, tools=[marking(marked, gate)]) as made:
            names = await busy(made, marked, 14)
            await asyncio.to_thread(save, taken, tmp_path / "backup.tar.gz")
            gate.set()
            for name in names:
                await until(lambda name=name: _ended(made, name))  # type: ignore[misc]
        with pytest.raises(BackupError, match="holds tables already"):
            restore(tmp_path / "backup.tar.gz", tmp_path / "elsewhere", taken.database_url)
        restore(tmp_path / "backup.tar.gz", tmp_path / "elsewhere", taken.database_url, force=True)
        await all_end(names, settings(tmp_path / "elsewhere", database_url=url))


@pytest.mark.req("M9")
async def test_a_backup_of_sealed_data_holds_no_canary_and_names_the_keys_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = settings(tmp_path / "state", encryption_keys=[{"env": "KEY_ONE"}])
    async with WorkflowEngine(settings=taken, tools=sealed_tools()) as made:
        name = await resting(made)
    manifest = save(taken, tmp_path / "backup.tar.gz")
    assert manifest.keys == (ID_ONE,)
    unpacked = gzip.decompress((tmp_path / "backup.tar.gz").read_bytes())
    assert leaks(unpacked) == set() and leaks(unpacked, KEYS) == set()
    here(monkeypatch, tmp_path, "elsewhere")
    said = command("restore", str(tmp_path / "backup.tar.gz"))
    assert (
        said.exit_code == 0 and f"keys needed  {ID_ONE}" in said.output and "encryption_keys must give" in said.output
    )
    refused = command("executions")
    assert refused.exit_code == 1 and f"sealed with the key {ID_ONE}" in refused.output
    again = settings(tmp_path / "elsewhere", encryption_keys=[{"env": "KEY_ONE"}])
    async with WorkflowEngine(settings=again, tools=sealed_tools()) as made:
        output = await goes_on(made, name)
    assert output["given"] == CANARIES["input"] and leaks_in(tmp_path / "elsewhere") == {}


@pytest.mark.req("M9")
async def test_a_sealed_backup_of_postgresql_holds_no_canary(tmp_path: Path) -> None:
    with database() as url:
        taken = settings(tmp_path / "state", database_url=url, encryption_keys=[{"env": "KEY_ONE"}])
        async with WorkflowEngine(settings=taken, tools=sealed_tools()) as made:
            await resting(made)
        manifest = save(taken, tmp_path / "backup.tar.gz")
        assert manifest.keys == (ID_ONE,)
        assert leaks(gzip.decompress((tmp_path / "backup.tar.gz").read_bytes())) == set()


def test_files_that_are_written_together_are_copied_as_of_one_instant(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.sqlite" for name in ("a", "b", "c")]
    for file in files:
        with closing(sqlite3.connect(file)) as made, made:
            made.execute("PRAGMA journal_mode=WAL")
            made.execute("CREATE TABLE counted (n INTEGER)")
            made.execute("INSERT INTO counted VALUES (0)")
    over = threading.Event()
    writer = threading.Thread(target=written_together, args=(files, over))
    writer.start()
    try:
        seen = []
        for number in range(15):
            (tmp_path / str(number)).mkdir()
            copies = copied(files, tmp_path / str(number))
            seen.append([counted(copies[file]) for file in files])
    finally:
        over.set()
        writer.join()
    assert all(len(set(counts)) == 1 for counts in seen) and len({counts[0] for counts in seen}) > 1


def written_together(files: list[Path], over: threading.Event) -> None:
    """Count in all files at once, again and again."""
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(sqlite3.connect(file, timeout=30, isolation_level=None))) for file in files
        ]
        while not over.is_set():
            for each in opened:
                each.execute("BEGIN IMMEDIATE")
                each.execute("UPDATE counted SET n = n + 1")
            for each in opened:
                each.execute("COMMIT")


def counted(file: Path) -> int:
    """How far a file has counted."""
    with closing(sqlite3.connect(file)) as opened:
        return int(opened.execute("SELECT n FROM counted").fetchone()[0])


# -- the commands ----------------------------------------------------------------------------------------------------------


def command(*words: str) -> Result:
    """What a command line says."""
    return CliRunner().invoke(cli, [*words])


def here(monkeypatch: pytest.MonkeyPatch, folder: Path, state: str) -> None:
    """The command line in this folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COGWORK_STATE_DIR", str(folder / state))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with one execution, in which the command line is."""
    here(monkeypatch, tmp_path, "state")
    house = app(settings(tmp_path / "state"))
    house.records()
    house.close()
    return tmp_path


def test_the_commands_make_check_and_restore_a_backup_and_write_over_nothing(small: Path) -> None:
    assert command("backup", "b.tar.gz").exit_code == 0
    assert (small / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    assert command("backup", "b.tar.gz").exit_code == 2
    told = json.loads(command("backup", "b.tar.gz", "--verify", "--json").stdout)
    assert told["database"] == "sqlite" and told["keys"] == [] and "files/records.sqlite" in told["members"]
    refused = command("restore", "b.tar.gz")
    assert refused.exit_code == 2 and "--into" in refused.output
    assert command("restore", "b.tar.gz", "--into", "other").exit_code == 0
    assert (small / "other" / "records.sqlite").stat().st_mode & 0o777 == 0o600
    (small / "state" / "mine").write_text("before")
    done = json.loads(command("restore", "b.tar.gz", "--force", "--json").stdout)
    assert (Path(done["before"]) / "mine").read_text() == "before" and not (small / "state" / "mine").exists()
    assert command("executions").exit_code == 0
    assert command("backup", "nothing.tar.gz", "--verify").exit_code == 4
    assert command("restore", "nothing.tar.gz", "--into", "third").exit_code == 4


def test_a_backup_of_nothing_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here(monkeypatch, tmp_path, "state")
    refused = command("backup", "b.tar.gz")
    assert refused.exit_code == 1 and "nothing in" in refused.output and list(tmp_path.iterdir()) == []


def test_a_backup_of_a_newer_cogwork_is_refused_before_anything_is_written(small: Path) -> None:
    command("backup", "b.tar.gz")
    altered(small / "b.tar.gz", lambda told: told | {"revision": "9999"})
    refused = command("restore", "b.tar.gz", "--into", "other")
    assert refused.exit_code == 1 and "9999" in refused.output and not (small / "other").exists()


async def test_force_moves_no_folder_in_which_somebody_is_at_work(small: Path) -> None:
    assert command("backup", "b.tar.gz").exit_code == 0
    async with WorkflowEngine(settings=settings(small / "state")):
        refused = await asyncio.to_thread(command, "restore", "b.tar.gz", "--force")
        assert refused.exit_code == 2 and "at work" in refused.output
    assert command("restore", "b.tar.gz", "--force").exit_code == 0


def test_without_the_programs_of_postgresql_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database() as url:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(BackupError, match="pg_dump is not on the PATH: install"):
            save(settings(tmp_path / "state", database_url=url), tmp_path / "b.tar.gz")


# -- archives of other people ----------------------------------------------------------------------------------------------


def altered(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write an archive with another manifest."""
    entries = list(members(path))
    entries[0] = (entries[0][0], json.dumps(change(json.loads(entries[0][1]))).encode())
    packed(path, entries)


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The members of an archive."""
    with tarfile.open(path) as tar:
        for each in tar:
            file = tar.extractfile(each)
            yield each, file.read() if file is not None else b""


def packed(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """An archive of these members, whatever they are."""
    with tarfile.open(path, "w:gz") as tar:
        for told, data in entries:
            told.size = len(data)
            tar.addfile(told, io.BytesIO(data))


def described(name: str, data: bytes) -> dict[str, Any]:
    """How a manifest describes a member."""
    import hashlib

    return {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}}


def manifest_with(more: dict[str, Any]) -> bytes:
    """A manifest with these members."""
    told = Manifest(cogwork="1", made_at="2026-01-01T00:00:00+00:00", database="sqlite").to_dict()
    return json.dumps({**told, "members": more}).encode()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A header of a member."""
    told = tarfile.TarInfo(name)
    told.type, told.linkname = kind, link
    return told


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("files/../../evil", tarfile.REGTYPE, ""),
        ("../evil", tarfile.REGTYPE, ""),
        ("/tmp/evil", tarfile.REGTYPE, ""),
        ("files//tmp/evil", tarfile.REGTYPE, ""),
        ("files/.hidden", tarfile.REGTYPE, ""),
        ("files/a\\..\\b", tarfile.REGTYPE, ""),
        ("files/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("files/link", tarfile.LNKTYPE, "files/records.sqlite"),
        ("files/fifo", tarfile.FIFOTYPE, ""),
        ("files/device", tarfile.CHRTYPE, ""),
        ("files/folder", tarfile.DIRTYPE, ""),
        (f"files/{'long' * 40}", tarfile.REGTYPE, ""),
    ],
)
def test_a_hostile_member_is_refused_and_nothing_is_written(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    data = b"evil" if kind == tarfile.REGTYPE else b""
    archive = tmp_path / "b.tar.gz"
    packed(archive, [(entry(NAME), manifest_with(described(name, data))), (entry(name, kind, link), data)])
    for tried in (lambda: restore(archive, tmp_path / "in" / "state"), lambda: checked(archive)):
        with pytest.raises(Unsound, match=r"no plain file|which no backup has"):
            tried()
    assert {path.name for path in tmp_path.rglob("*")} <= {"b.tar.gz", "in"}


def test_what_the_manifest_does_not_describe_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "b.tar.gz"
    right = described("files/a", b"good")
    faulty: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
        "does not describe": [(entry("files/a"), b"good"), (entry("files/b"), b"more")],
        "does not describe so": [(entry("files/a"), b"longer than that")],
        "was altered": [(entry("files/a"), b"evil")],
        "lacks files/a": [],
        "does not describe so|twice": [(entry("files/a"), b"good"), (entry("files/a"), b"good")],
    }
    for why, entries in faulty.items():
        packed(archive, [(entry(NAME), manifest_with(right)), *entries])
        with pytest.raises(Unsound, match=why):
            restore(archive, tmp_path / "state")
        assert not (tmp_path / "state").exists()
    packed(archive, [(entry(NAME), manifest_with(right)), (entry("files/a"), b"good")])
    assert checked(archive).size == 4
    packed(archive, [(entry("files/a"), b"good"), (entry(NAME), manifest_with(right))])
    with pytest.raises(Unsound, match="does not begin with a manifest"):
        checked(archive)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "b.tar.gz"
    size = 1 << 60
    told = {"files/a": {"size": size, "sha256": "0" * 64}}
    packed(archive, [(entry(NAME), manifest_with(told))])
    with pytest.raises(BackupError, match="free"):
        restore(archive, tmp_path / "state")
    with gzip.open(
        archive, "wb"
    ) as file:  # A header that says it is a gigabyte long, which other readers take into memory.
        header = entry(NAME, tarfile.XHDTYPE)
        header.size = 1 << 30
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(Unsound, match="no plain file"):
        checked(archive)
    with gzip.open(archive, "wb") as file:
        empty = manifest_with({})
        header = entry(NAME)
        header.size = len(empty)
        file.write(header.tobuf(tarfile.GNU_FORMAT) + empty + bytes(-len(empty) % 512) + bytes(1 << 20))
    with pytest.raises(Unsound, match="behind its end"):
        checked(archive)


def test_any_byte_that_is_changed_or_missing_makes_an_archive_unsound(small: Path) -> None:
    assert command("backup", "b.tar.gz").exit_code == 0
    whole = (small / "b.tar.gz").read_bytes()
    for at in range(12, len(whole), max(1, len(whole) // 12)):
        changed = whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :]
        (small / "bad.tar.gz").write_bytes(changed)
        assert command("backup", "bad.tar.gz", "--verify").exit_code == (0 if means_the_same(changed, whole) else 1), at
        (small / "bad.tar.gz").write_bytes(whole[:at])
        assert command("backup", "bad.tar.gz", "--verify").exit_code == 1, at


def means_the_same(changed: bytes, whole: bytes) -> bool:
    """Whether they unpack to the same: of a run of zeros there are several ways to say where it is copied from."""
    try:
        return gzip.decompress(changed) == gzip.decompress(whole)
    except (OSError, EOFError, zlib.error):
        return False


# -- kills -----------------------------------------------------------------------------------------------------------------


def killed(folder: Path, words: list[str], begun: str) -> None:
    """Run a command, and kill it once a file has appeared whose name fits."""
    process = subprocess.Popen([sys.executable, "-m", "cogwork", *words], cwd=folder, env=dict(os.environ))
    try:
        while not any(re.search(begun, path.name) for path in folder.rglob("*")):
            assert process.poll() is None, "it has ended before"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_backup_or_restore_that_is_killed_leaves_nothing_that_looks_whole(small: Path) -> None:
    (small / "state" / "large").write_bytes(os.urandom(16 << 20))
    killed(small, ["backup", "b.tar.gz"], r"^\.b\.tar\.gz\.partial")
    assert not (small / "b.tar.gz").exists()
    assert command("backup", "b.tar.gz").exit_code == 0
    killed(small, ["restore", "b.tar.gz", "--into", "other"], r"^\.other\.restoring")
    assert not (small / "other").exists()
    assert command("restore", "b.tar.gz", "--into", "other").exit_code == 0
    assert (small / "other" / "large").stat().st_size == 16 << 20
