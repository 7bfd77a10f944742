"""What may be typed in a chat beside messages: commands that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from cogwork.cli import render
from cogwork.cli.exits import Refusal
from state.values import Json

if TYPE_CHECKING:
    from cogwork.cli.chatting import Chat
    from cogwork.sessions.entries import Entry
    from cogwork.sessions.records import Message

SHOWN: Final = 20
Cells: TypeAlias = list[str | tuple[str, str]]
HELP: Final = (
    ("/new", "begin a new conversation in this session"),
    ("/topic [NAME]", "talk about that topic; /topic - about none; alone: list them"),
    ("/history [N]", "the last N messages of the topic"),
    ("/find WORDS", "messages of the session that have all the words"),
    ("/memory [WORDS]", "what is remembered, or what of it suits the words"),
    ("/remember [TYPE:] TEXT", "keep it: factual, procedural, episodic or preference"),
    ("/forget ID", "forget a memory, by the beginning of its id"),
    ("/mode [MODE]", "planning, coding, information, debugging, generic; /mode - for none"),
    ("/last", "the whole output of the last run"),
    ("/session", "the session and what was counted of it"),
    ("/quit", "end the chat; the session stays"),
)


def _help(chat: Chat, rest: str) -> None:
    rows: list[Cells] = [[(command, "cyan"), told] for command, told in HELP]
    _tell(chat, "help", [{"command": c, "does": d} for c, d in HELP], lambda: render.columns(rows))
    if not chat.json:
        render.say(("A line that ends in \\ goes on in the next; // at its beginning stands for one slash.", "dim"))


def _new(chat: Chat, rest: str) -> None:
    chat.conversation = chat.wait(chat.talk.conversations.start(chat.session.id, title=rest[:255]))
    chat.topic = ""
    _tell(chat, "conversation", chat.conversation.to_dict(), lambda: render.say(("a new conversation", "dim")))


def _topic(chat: Chat, rest: str) -> None:
    conversations, talk = chat.talk.conversations, chat.conversation.id
    if not rest:
        topics = chat.wait(conversations.topics(talk))
        rows: list[Cells] = [[("› " if each.topic == chat.topic else "  ", "cyan"), each.topic] for each in topics]
        listed: list[Json] = [each.to_dict() for each in topics]
        _tell(chat, "topics", listed, lambda: render.columns(rows) if rows else render.say(("no topics", "dim")))
        return
    if rest == "-":
        chat.wait(conversations.switch(talk))
        chat.topic = ""
    else:
        chat.topic = chat.wait(conversations.new_topic(talk, rest, switch=True)).topic
    about = f"now about {chat.topic}" if chat.topic else "now about no topic"
    _tell(chat, "topic", chat.topic or None, lambda: render.say((about, "dim")))


def _history(chat: Chat, rest: str) -> None:
    if rest and not (rest.isascii() and rest.isdigit() and int(rest)):
        raise Refusal(f"/history {rest}: say how many messages")
    limit = min(int(rest or SHOWN), 1000)
    found = chat.wait(chat.talk.conversations.messages(chat.conversation.id, limit, topic=chat.topic)).items
    _messages(chat, found)


def _find(chat: Chat, rest: str) -> None:
    _messages(chat, chat.wait(chat.talk.conversations.search(chat.session.id, rest, limit=SHOWN))[::-1])


def _memory(chat: Chat, rest: str) -> None:
    memory = chat.memory()
    asked = memory.search(rest, limit=SHOWN, count=False) if rest else memory.entries(limit=SHOWN)
    entries = chat.wait(asked)
    _tell(chat, "memory", [each.to_dict() for each in entries], lambda: show_entries(entries))
    if memory.trouble and not chat.json:
        render.note(("note: ", "bold yellow"), f"searched by words alone, as {memory.trouble}")


def _remember(chat: Chat, rest: str) -> None:
    from cogwork.sessions.entries import TYPES, type_of

    head, colon, tail = rest.partition(":")
    kind, text = (head.strip(), tail) if colon and head.strip() in TYPES else ("factual", rest)
    entry = chat.wait(chat.memory().add(text, type=type_of(kind), source=f"chat {chat.session.id}"))
    _tell(
        chat, "remembered", entry.to_dict(), lambda: render.say((f"remembered as {entry.type} {entry.id[:8]}", "dim"))
    )


def _forget(chat: Chat, rest: str) -> None:
    entry = chat.wait(named_entry(chat.memory(), rest))
    chat.wait(chat.memory().forget(entry.id))
    _tell(chat, "forgotten", entry.id, lambda: render.say((f"forgotten: {entry.content}", "dim")))


def _mode(chat: Chat, rest: str) -> None:
    if rest:
        before, wanted = chat.session, None if rest == "-" else rest
        chat.session = chat.wait(chat.talk.sessions.update(chat.session.id, mode=wanted))
        try:
            chat.build()
        except BaseException:
            chat.session = chat.wait(chat.talk.sessions.update(chat.session.id, mode=before.mode))
            raise
    told = f"mode {chat.session.mode or '-'}, workflow {chat.graph.plan.spec.name}"
    _tell(chat, "mode", chat.session.mode, lambda: render.say((told, "dim")))


def _last(chat: Chat, rest: str) -> None:
    _tell(chat, "last", chat.last, lambda: render.value(chat.last))


def _session(chat: Chat, rest: str) -> None:
    session = chat.wait(chat.talk.sessions.find(chat.session.id))
    metrics = chat.wait(chat.talk.sessions.metrics(chat.session.id))
    told: dict[str, Json] = {**session.to_dict(), "metrics": metrics.to_dict()}
    _tell(chat, "session", told, lambda: render.value(told))


COMMANDS: Final[Mapping[str, Callable[[Chat, str], None]]] = {
    "help": _help,
    "new": _new,
    "topic": _topic,
    "history": _history,
    "find": _find,
    "memory": _memory,
    "remember": _remember,
    "forget": _forget,
    "mode": _mode,
    "last": _last,
    "session": _session,
}


async def named_entry(memory: object, wanted: str) -> Entry:
    """The entry of that id, or whose id alone begins so.

    Raises:
        EngineError: ``memory_not_found``.
        Refusal: several begin so.
    """
    from cogwork.sessions.memory import MAX_FOUND, Memory

    assert isinstance(memory, Memory)
    close = [each for each in await memory.entries(limit=MAX_FOUND) if wanted and each.id.startswith(wanted)]
    if len(close) > 1 and all(each.id != wanted for each in close):
        raise Refusal(f"{len(close)} memories begin with {wanted!r}", "give more of the id")
    return close[0] if len(close) == 1 else await memory.get(wanted)


def show_entries(entries: Sequence[Entry]) -> None:
    """Memories as a table."""
    if not entries:
        render.say(("nothing is remembered", "dim"))
        return
    render.columns(
        [
            [
                (each.id[:8], "cyan"),
                each.type,
                (each.level, "dim"),
                (f"{each.score:.2f}" if each.score is not None else "", "dim"),
                (", ".join(each.tags), "dim"),
                each.content,
            ]
            for each in entries
        ],
        ("ID", "TYPE", "OF", "SCORE", "TAGS", "CONTENT"),
    )


def show_messages(messages: Sequence[Message]) -> None:
    """Messages as they were said."""
    styles = {"user": "bold cyan", "assistant": "bold green"}
    for each in messages:
        render.say((each.role, styles.get(each.role, "bold")), (f"  {each.at:%Y-%m-%d %H:%M}", "dim"))
        render.say(each.content)


def _messages(chat: Chat, found: Sequence[Message]) -> None:
    listed: list[Json] = [each.to_dict() for each in found]
    _tell(chat, "messages", listed, lambda: show_messages(found) if found else render.say(("nothing was said", "dim")))


def _tell(chat: Chat, name: str, value: Json, show: Callable[[], None]) -> None:
    """For people by ``show``, for programs as an event."""
    if chat.json:
        render.write_json({"event": f"chat.{name}", name: value}, indent=None)
    else:
        show()
