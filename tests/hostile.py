"""Attacks on isolated executions, as workflows that are code; ``python -m tests.hostile`` makes each and prints what came of it.

Each attack runs in an execution and gives what it has got hold of. What it was to get hold of, it is told: the attacker knows
the house. ``Trial.contained`` says what must hold afterwards.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

LINE = 3
MARK = "hostile-orphan"
CANARY = "canary-of-the-worker"


class Loot(TypedDict, total=False):
    """The state of an attack: what it has got hold of."""

    loot: Any


def graph(attack: str, **given: Any) -> StateGraph:
    """The workflow that makes an attack."""

    def node(state: Loot) -> Loot:
        return {"loot": ATTACKS[attack](**given)}

    made = StateGraph(Loot)
    made.add_node("attack", node)
    made.add_edge(START, "attack")
    made.add_edge("attack", END)
    return made


def tried(*attempts: Callable[[], Any]) -> list[str]:
    """What came of each attempt: what it gave, or why it failed."""
    found = []
    for attempt in attempts:
        try:
            found.append(f"GOT {attempt()!r}"[:300])
        except BaseException as error:
            found.append(f"{type(error).__name__}: {error}"[:200])
    return found


def memory() -> None:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def memory_aside() -> Any:
    """Memory that no limit of the process's own addresses counts."""
    libc = ctypes.CDLL(None, use_errno=True)

    def segment() -> Any:
        if libc.shmget(0, 1 << 24, 0o1600) < 0:
            raise OSError(ctypes.get_errno(), "shmget")
        return "segment"

    def ring() -> Any:
        if libc.syscall(425, 8, ctypes.create_string_buffer(120)) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        return "ring"

    return tried(lambda: os.memfd_create("aside"), segment, ring, lambda: open("/dev/shm/aside", "wb").write(b"x"))


def memory_of_many() -> Any:
    for _ in range(6):
        if os.fork() == 0:
            held = bytearray(60 << 20)  # within what one process may have; all together are not
            for page in range(0, len(held), resource.getpagesize()):
                held[page] = 1
            time.sleep(30)
            os._exit(0)
    time.sleep(30)


def forks() -> Any:
    made, until = 0, time.monotonic() + 0.7
    while time.monotonic() < until:
        try:
            if os.fork() == 0:
                while True:
                    with suppress(OSError):
                        os.fork()
                    time.sleep(0.01)
            made += 1
        except OSError:
            time.sleep(0.01)
    return made


def disk() -> Any:
    written, block = 0, b"x" * (1 << 20)
    for number in range(10_000):
        try:
            with open(f"fill-{number}", "wb", buffering=0) as file:
                while True:
                    written += file.write(block)
        except OSError:
            if number > 8 and os.path.getsize(f"fill-{number}") == 0:
                break
    return written >> 20


def elsewhere(folders: list[str]) -> Any:
    def put(folder: str) -> str:
        path = f"{folder}/planted-{os.getpid()}"
        Path(path).write_text("x")
        return path

    return tried(*(lambda folder=folder: put(folder) for folder in folders))  # type: ignore[misc]


def output() -> None:
    while True:
        os.write(1, b"flood " * 10_000)


def network(port: int) -> Any:
    def connect() -> Any:
        with socket.create_connection(("127.0.0.1", port), 2) as found:
            found.sendall(b"hello")
            return found.getpeername()

    def datagram() -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            return found.sendto(b"hello", ("127.0.0.1", port))

    def abstract() -> Any:
        with socket.socket(socket.AF_UNIX) as found:
            found.connect(f"\0hostile-{port}")
            return "connected"

    return tried(connect, datagram, abstract)


def environment() -> Any:
    places = [f"/proc/{name}/environ" for name in os.listdir("/proc") if name.isdigit() or name == "self"]
    texts = [repr(dict(os.environ))]
    for place in places:
        with suppress(OSError):
            texts.append(Path(place).read_bytes().decode("latin-1"))
    return [text for text in texts if CANARY in text] or sorted(os.environ)


def files(paths: list[str]) -> Any:
    return tried(*(lambda path=path: Path(path).read_bytes()[:80] for path in paths))  # type: ignore[misc]


def unlinks(paths: list[str]) -> Any:
    return tried(*(lambda path=path: os.unlink(path) or path for path in paths))  # type: ignore[misc]


def orphan() -> Any:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ctypes.CDLL(None).prctl(15, MARK.encode(), 0, 0, 0)
            for handle in range(3):
                os.close(handle)
            time.sleep(600)
        os._exit(0)
    time.sleep(0.1)
    return "left"


def orphan_and_stay() -> None:
    orphan()
    time.sleep(600)


def signals(processes: list[int]) -> Any:
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
    targets = [*processes, os.getppid(), 1, -1]
    return tried(*(lambda each=each: os.kill(each, signal.SIGKILL) or each for each in targets if each > 1 or each < 0))  # type: ignore[misc]


def traces(processes: list[int]) -> Any:
    libc = ctypes.CDLL(None, use_errno=True)

    def attach(process: int) -> Any:
        if libc.ptrace(16, process, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
        return process

    attempts: list[Callable[[], Any]] = []
    for process in [*processes, os.getppid()]:
        attempts += [
            lambda process=process: attach(process),  # type: ignore[misc]
            lambda process=process: Path(f"/proc/{process}/cmdline").read_bytes() or 1 / 0,  # type: ignore[misc]
            lambda process=process: os.close(os.open(f"/proc/{process}/mem", os.O_RDONLY)),  # type: ignore[misc]
            lambda process=process: os.listdir(f"/proc/{process}/fd"),  # type: ignore[misc]
            lambda process=process: os.listdir(f"/proc/{process}/root/"),  # type: ignore[misc]
        ]
    return tried(*attempts)


def rights() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)

    def called(name: str, *given: Any) -> Any:
        if getattr(libc, name)(*given) != 0:
            raise OSError(ctypes.get_errno(), name)
        return name

    return tried(
        lambda: os.setuid(0 if os.getuid() else 1) or "another user",
        lambda: called("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        lambda: called("umount2", b"/tmp", 2),
        lambda: called("unshare", 0x10000000),
        lambda: called("unshare", 0x00020000),
        lambda: called("sethostname", b"mine", 4),
        lambda: os.chroot("/") or "chroot",
        lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) or "memory",
        lambda: os.mknod("disk", 0o600 | 0o060000, os.makedev(254, 0)) or "device",
    )


def spins() -> None:
    while True:
        pass


def spins_apart() -> None:
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            spins()
    time.sleep(60)


def sleeps() -> None:
    time.sleep(600)


def closes() -> None:
    socket.socket(fileno=os.dup(LINE)).shutdown(socket.SHUT_RDWR)
    os.close(LINE)
    time.sleep(600)


def garbage() -> None:
    os.write(LINE, struct.pack(">I", 400) + os.urandom(400))
    time.sleep(600)


def huge() -> None:
    os.write(LINE, struct.pack(">I", 0xFFFFFFF0) + b"x" * 1000)
    time.sleep(600)


def bomb() -> None:
    data = b"\x82\xa2do\xa5event\xa5event\xdd" + struct.pack(">I", 30_000_000) + b"\x90" * 30_000_000
    with socket.socket(fileno=os.dup(LINE)) as line:
        line.sendall(struct.pack(">I", len(data)) + data)
    time.sleep(600)


def nested() -> None:
    data = b"\x91" * 1_000_000 + b"\xc0"
    with socket.socket(fileno=os.dup(LINE)) as line:
        line.sendall(struct.pack(">I", len(data)) + data)
    time.sleep(600)


def asks() -> None:
    """More requests at once than anyone may."""
    line = _line()
    for _ in range(50_000):
        line._asked("call_tool", {**_call(), "args": {"wait": True}})
    time.sleep(600)


def chatters() -> None:
    line = _line()
    while True:
        event = {"event": "step.token", "run": "r", "at": "now", "step": "s", "text": "x" * 1000}
        line.tell("event", event=event)


def forges(thread: str) -> Any:
    """Another thread's checkpoints, by whatever the line offers."""
    line = _line()
    return tried(
        lambda: line.ask("own", name=thread),
        lambda: line.ask("alive", name=thread),
        lambda: line.ask("calls_of", run="run-of-the-victim"),
        lambda: line.ask("get_tuple", namespace=f"../{thread}", checkpoint=None),
        lambda: line.ask("close_request", request="request-of-the-victim"),
    )


def forges_thread(thread: str) -> None:
    _line().ask("get_tuple", namespace="", checkpoint=None, thread=thread)


def forges_run() -> None:
    _line().ask("call_tool", **{**_call(), "key": "run-of-the-victim:step:0"})


def forges_time() -> None:
    _line().ask("put", **_put("1fffffff-ffff-6fff-8000-000000000000"))


def forges_types() -> Any:
    import pickle

    class Runs:
        def __reduce__(self) -> Any:
            return os.system, ("touch /tmp/pwned",)

    writes = {"namespace": "", "checkpoint": "x", "task": "t", "task_path": ""}
    data = pickle.dumps(Runs())
    return tried(lambda: _line().ask("put_writes", **writes, writes=[["loot", ["pickle", data]]]))


def forges_folded() -> None:
    writes = {"namespace": "", "checkpoint": "x", "task": "t", "task_path": ""}
    _line().ask("put_writes", **writes, writes=[["loot", ["folded", b"\x00" * 64]]])


def borrows() -> Any:
    """Secrets and tools that are for others."""
    line = _line()
    return tried(
        lambda: line.ask("call_tool", **{**_call(), "args": {"key": "secret://token"}}),
        lambda: line.ask("call_tool", **{**_call(), "args": {"key": "secret://token"}, "secrets": [["key"]]}),
        lambda: line.ask("call_tool", **{**_call(), "name": "t.hidden"}),
        lambda: line.ask("call_tool", **{**_call(), "name": "t.approved"}),
    )


def _line() -> Any:
    from cogwork.isolation.code import SERVICES

    return SERVICES.get().tools._line  # type: ignore[attr-defined]


def _call() -> dict[str, Any]:
    about = {"run": "r", "step": "s", "key": "r:s:0", "attempt": 1, "answers": {}}
    return {"name": "t.open", "args": {}, "secrets": [], **about}


def _put(checkpoint: str) -> dict[str, Any]:
    from cogwork.store.outlines import strict_serde

    empty: dict[str, Any] = {name: {} for name in ("channel_values", "channel_versions", "versions_seen")}
    made = {"v": 4, "id": checkpoint, "ts": "2026-01-01", **empty}
    packed = [list(strict_serde().dumps_typed(each)) for each in (made, {})]
    return {"namespace": "", "parent": None, "checkpoint": packed[0], "metadata": packed[1], "versions": {}}


ATTACKS: dict[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        memory, memory_aside, memory_of_many, forks, disk, elsewhere, output, network, environment, files,
        unlinks, orphan, orphan_and_stay, signals, traces, rights, spins, spins_apart, sleeps, closes,
        garbage, huge, bomb, nested, asks, chatters, forges, forges_thread, forges_run, forges_time,
        forges_types, forges_folded, borrows,
    )
}  # fmt: skip


# -- the worker's side -------------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """What is at stake: a worker with files, an environment, a listener, and another thread's run."""

    folder: Path
    saver: Any
    services: Any
    port: int = 0
    heard: int = 0
    called: list[Any] = field(default_factory=list)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A world for attacks; its files are in the folder."""
    from cogwork.secrets import SecretSource, SecretStore
    from cogwork.store.checkpoints import SqliteCheckpoints
    from state.services import Services
    from tests.fakes import FakeTool, fake_services

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "state.txt").write_text(CANARY)
    (folder / "state.txt").chmod(0o600)
    made = World(folder=folder, saver=None, services=None)

    async def wait(**given: Any) -> Any:
        made.called.append(given)
        if given.get("wait"):
            await asyncio.sleep(600)
        return f"told {given}"

    tools = {
        "t.open": FakeTool(fn=wait),
        "t.hidden": FakeTool(fn=wait),
        "t.approved": FakeTool(fn=wait, needs_approval=True),
    }
    base = fake_services(tools=tools)

    def hear(*_: Any) -> None:
        made.heard += 1

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    with SqliteCheckpoints(folder / "checkpoints.sqlite") as saver:
        made.saver = saver
        made.services = Services(
            tools=base.tools,
            models=base.models,
            prompts=base.prompts,
            secrets=SecretStore({"token": SecretSource(value=CANARY, tools=("t.hidden",))}, {}),
        )
        try:
            yield made
        finally:
            server.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An attack and what must come of it.

    ``needs`` names what has to hold for it to be contained: without that it is not made, as it would do what it says. ``ends``
    are the limits that may end the execution, None among them where it may end by itself.
    """

    name: str
    attack: str
    against: str
    ends: tuple[str | None, ...] = (None,)
    given: Callable[[World, Any], dict[str, Any]] = lambda world, zygote: {}
    limits: Mapping[str, Any] = field(default_factory=dict)
    contained: Callable[[Any, World], bool] = lambda loot, world: True
    needs: tuple[str, ...] = ()


def _nothing(loot: Any, world: World) -> bool:
    """Nothing was got hold of; what is hidden reads as empty."""
    return (
        isinstance(loot, list) and bool(loot) and not any(each.startswith("GOT") and each != "GOT b''" for each in loot)
    )


def _secret_paths(world: World, zygote: Any) -> dict[str, Any]:
    house = Path(__file__).parent.parent
    near = [f"{house}/.git", f"{house}/.git/config", str(Path.home() / ".bash_history"), "/etc/shadow", "/etc/passwd"]
    return {"paths": [str(world.folder / "state.txt"), str(world.folder / "checkpoints.sqlite"), *near]}


def _processes(world: World, zygote: Any) -> dict[str, Any]:
    return {"processes": [os.getpid(), zygote.pid]}


def _code(world: World, zygote: Any) -> dict[str, Any]:
    return {"paths": [str(world.folder / "state.txt"), __file__, sys.executable, os.__file__]}


def _elsewhere(world: World, zygote: Any) -> dict[str, Any]:
    places = [
        str(world.folder),
        str(Path(__file__).parent),
        "/usr/lib",
        "/",
        "/dev",
        "/var/tmp",
        "/dev/shm",
        sys.prefix,
    ]
    return {"folders": places}


def orphans() -> list[int]:
    """The processes that call themselves what the orphan does."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if entry.read_text().strip() == MARK:
                found.append(int(entry.parent.name))
    return found


def _victim(world: World, zygote: Any) -> dict[str, Any]:
    return {"thread": "victim"}


QUICK: Mapping[str, Any] = {"wall_s": 20, "cpu_s": 10}
TRIALS: tuple[Trial, ...] = (
    Trial(name="memory bomb", attack="memory", against="memory", ends=("memory",), limits={"memory_mb": 64}),
    Trial(
        name="memory bomb of many processes",
        attack="memory_of_many",
        against="memory",
        ends=("memory",),
        limits={"memory_mb": 128},
    ),
    Trial(
        name="memory that no address shows",
        attack="memory_aside",
        against="memory",
        contained=lambda loot, world: _nothing(loot[:3], world) and _nothing(loot, world),
        needs=("files",),
    ),
    Trial(
        name="fork bomb",
        attack="forks",
        against="processes",
        ends=(None, "processes", "memory", "cpu", "wall", "killed"),
        limits={"processes": 24, "wall_s": 10},
        contained=lambda loot, world: not isinstance(loot, int) or loot < 24,
        needs=("processes",),
    ),
    Trial(
        name="disk fill",
        attack="disk",
        against="disk",
        limits={"disk_mb": 32, "file_mb": 4},
        ends=(None, "files"),
        contained=lambda loot, world: loot is None or loot <= 33,
        needs=("disk",),
    ),
    Trial(
        name="writing outside its folder",
        attack="elsewhere",
        against="files",
        given=_elsewhere,
        contained=_nothing,
        needs=("files",),
    ),
    Trial(name="output flood", attack="output", against="output", ends=("output",), limits={"output_bytes": 200_000}),
    Trial(
        name="network: connect, datagram, abstract socket",
        attack="network",
        against="network",
        given=lambda world, zygote: {"port": world.port},
        contained=lambda loot, world: _nothing(loot, world) and world.heard == 0,
        needs=("network",),
    ),
    Trial(
        name="environment of worker and others",
        attack="environment",
        against="environment",
        contained=lambda loot, world: {*loot} <= {*_VARIABLES},
        needs=("signals",),
    ),
    Trial(
        name="files of the state folder and of others",
        attack="files",
        against="files",
        given=_secret_paths,
        contained=_nothing,
        needs=("files",),
    ),
    Trial(
        name="deleting files of the worker and the code",
        attack="unlinks",
        against="files",
        given=_code,
        contained=lambda loot, world: _nothing(loot, world) and (world.folder / "state.txt").exists(),
        needs=("files",),
    ),
    Trial(
        name="orphan daemon (double fork, setsid)",
        attack="orphan",
        against="orphans",
        contained=lambda loot, world: not orphans(),
        needs=("orphans",),
    ),
    Trial(
        name="signals to worker, server, keeper, all",
        attack="signals",
        against="signals",
        given=_processes,
        ends=(None, "killed"),
        contained=lambda loot, world: loot is None or not any(each.startswith("GOT") for each in loot[:3]),
        needs=("signals",),
    ),
    Trial(
        name="ptrace, /proc of the worker",
        attack="traces",
        against="signals",
        given=_processes,
        contained=_nothing,
        needs=("signals", "files"),
    ),
    Trial(
        name="root, mounts, limits raised, devices",
        attack="rights",
        against="privileges",
        contained=_nothing,
        needs=("privileges", "files"),
    ),
    Trial(name="busy loop", attack="spins", against="cpu", ends=("cpu",), limits={"cpu_s": 1}),
    Trial(
        name="busy loops in detached children", attack="spins_apart", against="cpu", ends=("cpu",), limits={"cpu_s": 1}
    ),
    Trial(name="sleeping for ever", attack="sleeps", against="wall", ends=("wall",), limits={"wall_s": 1}),
    Trial(name="line closed", attack="closes", against="protocol", ends=("killed",)),
    Trial(name="garbage on the line", attack="garbage", against="protocol", ends=("protocol",)),
    Trial(name="message of 4 GiB announced", attack="huge", against="protocol", ends=("protocol",)),
    Trial(name="message of 30,000,000 lists", attack="bomb", against="protocol", ends=("protocol",)),
    Trial(name="message 1,000,000 deep", attack="nested", against="protocol", ends=("protocol",)),
    Trial(name="50,000 requests at once", attack="asks", against="protocol", ends=("protocol",)),
    Trial(name="events without end", attack="chatters", against="wall", ends=("wall",), limits={"wall_s": 2}),
    Trial(
        name="checkpoints of another thread",
        attack="forges",
        against="protocol",
        given=_victim,
        contained=lambda loot, world: all(each.startswith(("Beyond", "GOT None", "GOT []")) for each in loot),
    ),
    Trial(
        name="another thread named in a message",
        attack="forges_thread",
        against="protocol",
        given=_victim,
        ends=("protocol",),
    ),
    Trial(
        name="call under another run's key",
        attack="forges_run",
        against="protocol",
        ends=("protocol",),
        contained=lambda loot, world: not world.called,
    ),
    Trial(name="checkpoint of the year 3000", attack="forges_time", against="protocol", ends=("protocol",)),
    Trial(
        name="pickle as a checkpoint's value",
        attack="forges_types",
        against="protocol",
        ends=("protocol",),
        contained=lambda loot, world: not Path("/tmp/pwned").exists(),
    ),
    Trial(name="folded value as a write", attack="forges_folded", against="protocol", ends=("protocol",)),
    Trial(
        name="secrets and tools of others",
        attack="borrows",
        against="protocol",
        contained=lambda loot, world: (
            CANARY not in repr([*loot, *world.called])
            and len(world.called) == 1
            and all(each.startswith("Fault") for each in loot[1:])
        ),
    ),
)
_VARIABLES = ["HOME", "LANG", "PATH", "TMPDIR", "TZ"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of an attack."""

    trial: Trial
    contained: bool
    ended: str
    seconds: float
    loot: Any
    missing: tuple[str, ...]
    message: str = ""


async def attempt(trial: Trial, zygote: Any, at_stake: World) -> Result:
    """Make one attack, and see what has come of it."""
    from cogwork.isolation import Isolation, Job, isolated_events

    at_stake.called.clear()
    job = Job(
        thread=f"attack-{trial.attack}-{time.monotonic_ns()}",
        reference="tests.hostile:graph",
        arguments={"attack": trial.attack, **trial.given(at_stake, zygote)},
        input={},
        tools=("t.open", "t.approved"),
    )
    limits = Isolation(**{**QUICK, **trial.limits})
    begun, last = time.monotonic(), None
    events = isolated_events(zygote, job, services=at_stake.services, saver=at_stake.saver, isolation=limits)
    async for event in events:
        last = event
        if trial.attack == "chatters":
            await asyncio.sleep(0.001)
    assert last is not None, "a run ends with an event"
    error = last.data.get("error") or {}
    limit = (error.get("details") or {}).get("limit")
    loot = (last.data.get("output") or {}).get("loot")
    by_itself = last.kind == "run.completed" or (last.kind == "run.failed" and limit is None)
    as_wanted = limit in trial.ends if limit is not None else by_itself and None in trial.ends
    return Result(
        trial=trial,
        contained=as_wanted and trial.contained(loot, at_stake) and zygote.pid is not None,
        ended=f"{last.kind.partition('.')[2]}{f' ({limit})' if limit else ''}",
        seconds=time.monotonic() - begun,
        loot=loot,
        missing=tuple(last.data["isolation"]["missing"]),
        message=error.get("message", ""),
    )


def lacking(trial: Trial, zygote: Any) -> list[str]:
    """What the attack needs for its containment, and does not hold here."""
    return sorted({*trial.needs} - {*zygote.containment.held})


async def table(without: tuple[str, ...] = ()) -> AsyncIterator[tuple[Trial, Result | None, list[str]]]:
    """What comes of every attack here; of one that cannot be contained, what is missing for it."""
    from cogwork.isolation import Zygote

    os.environ["HOSTILE_CANARY"] = CANARY
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder) / "state") as at_stake, Zygote(without=without) as zygote:
            for trial in TRIALS:
                missing = lacking(trial, zygote)
                yield trial, None if missing else await attempt(trial, zygote, at_stake), missing


async def main() -> int:
    """Print the table; arguments name what is not used."""
    print("| attack | against | contained | how it ended | seconds |\n|---|---|---|---|---|")
    odd = []
    async for trial, result, missing in table(tuple(sys.argv[1:])):
        if result is None:
            print(f"| {trial.name} | {trial.against} | not made: {', '.join(missing)} missing | | |")
            continue
        told = "yes" if result.contained else "NO"
        print(f"| {trial.name} | {trial.against} | {told} | {result.ended} | {result.seconds:.2f} |", flush=True)
        odd += [] if result.contained else [f"{trial.name}: {result.loot} {result.message}"]
    print("\n".join(odd))
    return 1 if odd else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
