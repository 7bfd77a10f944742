"""A chat at work: what is typed becomes a run or a command, and what comes of it is shown."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from cogwork.cli import chat_commands, exits, render
from cogwork.cli.chat_view import ChatView, speaker_of
from cogwork.cli.context import ORIGIN
from cogwork.cli.talking import Talking
from state.errors import CogworkError
from state.events import Event
from state.values import Json

if TYPE_CHECKING:
    from cogwork.cli.views import View
    from cogwork.sessions.memory import Memory
    from cogwork.sessions.records import Conversation, Session
    from graphs.graph import WorkflowGraph

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Chat:
    """One person's talk with a workflow. ``answers`` says whether its questions are asked here."""

    talk: Talking
    saver: Any
    session: Session
    workflow: str | None
    input: str | None
    """The input that holds what the person says; where it is None, the one text there is."""
    pairs: tuple[str, ...] = ()
    project: str | None = None
    json: bool = False
    answers: bool = True
    graph: WorkflowGraph = field(init=False)
    conversation: Conversation = field(init=False)
    topic: str = field(default="", init=False)
    last: Json = field(default=None, init=False)
    """The whole output of the last run."""

    # -- around --------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Build the workflow, and find the conversation that goes on or begin one.

        Raises:
            SpecError: the workflow cannot be loaded.
            Refusal: nothing says which input holds what the person says.
        """
        self.build()
        found = self.wait(self.talk.conversations.current(self.session.id))
        self.conversation = found or self.wait(self.talk.conversations.start(self.session.id))
        active = self.wait(self.talk.conversations.active_topic(self.conversation.id))
        self.topic = active.topic if active is not None else ""

    def build(self) -> None:
        """The workflow in the session's mode: the one that was named, else that of the mode."""
        from cogwork.cli.chat import USUAL
        from cogwork.sessions.turns import request_field

        mode = self.session.mode
        overrides = {"mode": mode} if mode and self.workflow else None
        graph = self.talk.app.compile(self.workflow or mode or USUAL, overrides=overrides, checkpointer=self.saver)
        texts = list(graph.plan.spec.input.get("properties", {}))
        if self.input is not None and self.input not in texts:
            raise exits.Refusal(
                f"{graph.plan.spec.name} has no input {self.input!r}", f"it has {', '.join(texts) or 'none'}"
            )
        if self.input is None and request_field(graph.plan.spec.input) is None:
            hint = f"name it with --field: {', '.join(texts)}" if texts else "it takes no input"
            raise exits.Refusal(f"Nothing says which input of {graph.plan.spec.name} holds what you say", hint)
        self.graph = graph

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns."""
        return asyncio.run(coroutine)

    def memory(self) -> Memory:
        """The memory of the person, in this session and project."""
        from cogwork.sessions.entries import Place

        return self.talk.memory(Place(user=self.session.user_id, session=self.session.id, project=self.project))

    def prompt(self) -> str:
        """What is asked with."""
        return f"you ({self.topic}) › " if self.topic else "you › "

    def greet(self) -> None:
        """Say where one is."""
        if self.json:
            render.write_json(
                {"event": "session", "session": self.session.id, "conversation": self.conversation.id}, indent=None
            )
        elif render.out().is_terminal:
            name = self.graph.plan.spec.name
            render.say((name, "bold cyan"), (f" · session {self.session.id} · /help tells the commands", "dim"))

    def part(self) -> None:
        """Say how to go on another day."""
        if not self.json and render.out().is_terminal:
            render.say()
            render.say(
                ("Go on another time with:  ", "dim"), (f"cogwork chat --session {self.session.id}", "bold cyan")
            )

    # -- a line --------------------------------------------------------------------------------------------

    def hear(self, line: str) -> bool:
        """Do what the line says; False where it ends the chat. What goes wrong is told, and the chat goes on."""
        try:
            if line.startswith("/") and not line.startswith("//"):
                return self._command(line)
            self._turn(line[1:] if line.startswith("//") else line)
        except (CogworkError, OSError) as error:
            self._complain(error)
        except KeyboardInterrupt:
            render.note(("\nstopped", "yellow"))
        return True

    def _command(self, line: str) -> bool:
        word, _, rest = line[1:].partition(" ")
        command = chat_commands.COMMANDS.get(word)
        if word in ("quit", "exit", "q"):
            return False
        if command is None:
            close = difflib.get_close_matches(word, chat_commands.COMMANDS, 1)
            raise exits.Refusal(f"There is no command /{word}", f"did you mean /{close[0]}?" if close else "see /help")
        command(self, rest.strip())
        return True

    def _turn(self, said: str) -> None:
        """One run: given what was said before, shown while it goes on, and kept in the conversation."""
        from cogwork.cli.runs import new_thread
        from cogwork.cli.values import gathered
        from cogwork.sessions.turns import record_turn, request_field

        schema = self.graph.plan.spec.input
        inputs = {**gathered(schema, self.pairs, None), str(self.input or request_field(schema)): said}
        given = self.wait(self._given(said))
        self.conversation = given.conversation
        thread = new_thread(self.graph)
        view = ChatView(speaker_of(self.graph)) if not self.json else None
        status = "interrupted"
        output: Json = None
        try:
            last = played(self, thread, inputs, given.context, view)
            status, output = last.kind.removeprefix("run."), last.data.get("output")
        finally:
            self.wait(record_turn(self.talk.conversations, self.conversation.id, thread, said, output, status=status))
        self.last = output
        self._shown(last, thread, view)

    async def _given(self, said: str) -> Any:
        from cogwork.sessions.turns import session_context

        return await session_context(
            self.talk.sessions,
            self.talk.conversations,
            self.session.id,
            conversation_id=self.conversation.id,
            request=said,
            memory=self.memory(),
            project=self.project,
            summarise=self._summariser(),
        )

    def _summariser(self) -> Any:
        from cogwork.sessions.summarising import EXTRACT, ByModel

        models = self.talk.app.models
        name = models.chosen(None)
        prompt = self.talk.app.services.prompts.find("session/summary")
        return ByModel(models.find(None), prompt, name) if name != "offline" and prompt is not None else EXTRACT

    # -- what came of it -----------------------------------------------------------------------------------

    def _shown(self, last: Event, thread: str, view: ChatView | None) -> None:
        from cogwork.sessions.turns import spoken

        if view is None:
            render.write_json(self._result(last, thread), indent=None)
        elif last.kind == "run.completed":
            said = spoken(last.data.get("output"))
            if view.told.strip() != said.strip() or not said.strip():
                render.value(said or "(the workflow said nothing)")
            if render.out().is_terminal:
                render.say()
        elif last.kind == "run.paused":
            render.note(("the run rests; go on with: ", "yellow"), (f"cogwork resume {thread}", "bold cyan"))
        else:
            from cogwork.cli.reasons import brief_error

            render.complain(brief_error(last.data.get("error") or {}), f"cogwork show {thread}")

    def _result(self, last: Event, thread: str) -> dict[str, Json]:
        from cogwork.sessions.turns import spoken

        return {
            "event": "turn",
            "session": self.session.id,
            "conversation": self.conversation.id,
            "thread": thread,
            "status": last.kind.removeprefix("run."),
            "answer": spoken(last.data.get("output")),
            "output": last.data.get("output"),
            "error": last.data.get("error"),
            "questions": last.data.get("questions") or [],
        }

    def _complain(self, error: BaseException) -> None:
        from cogwork.cli.faults import complained

        if self.json:
            render.write_json({"event": "error", "message": str(error)}, indent=None)
        else:
            complained(error)


def played(chat: Chat, thread: str, inputs: dict[str, Json], context: dict[str, Json], view: View | None) -> Event:
    """One run in this process, its questions answered at the terminal; the last event. All that runs something here."""
    from cogwork.cli.answers import Given
    from cogwork.cli.drive import Drive

    chat.talk.app.specs().keep(chat.graph)
    chat.graph.observer = chat.talk.app.recorder(ORIGIN)
    drive = Drive(
        graph=chat.graph,
        thread=thread,
        given=Given(),
        json=chat.json,
        interactive=chat.answers,
        context=context,
        view=view,
    )
    return drive.played(inputs)
