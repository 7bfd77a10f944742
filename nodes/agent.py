"""The parts of an llm node that works with tools: a turn of its model, and a call that it wants.

The plan sets them into a loop of their own, so that each turn and each call is a step of the graph; between the two stands,
where its policy says so, the question whether the call may be made (``nodes/approving.py``):

```text
turn ──▶ calls, each: approve (where its policy says ask) ──▶ call
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from nodes.approving import decided
from nodes.base import CallingNode, Outcome, Slot, StepCall
from nodes.calls import check_args, perform
from nodes.conversation import Conversation, function_names, offered
from nodes.llm import LlmNode
from nodes.profile import Profile, approval, profile
from nodes.telling import History, Question, Told
from state.errors import Fault
from state.services import Effect, RenderedPrompt, Services, Tool
from state.values import Json, Schema

CONVERSATION: Final = "conversation"
"""The root name under which a turn sees its conversation; expressions cannot name it."""
FIND: Final = "find_tools"
"""The tool by which a model that has too many tools looks for one of them."""
HANDOFF: Final = "handoff:"
"""What the names of the tools begin with by which a model hands over."""
MOST_TOOLS: Final = 32
"""With more tools than this, a model is offered those that suit its task, and a search for the others."""
_SUITING: Final = 12
_ENOUGH: Final = "No more tools can be called. Answer now, with what you have."


class AgentTurn(LlmNode):
    """One turn of the model: the tool calls that it wants, or its answer."""

    roots: ClassVar[tuple[str, ...]] = (CONVERSATION,)

    first_model: str | None = None
    """The model that the step itself names, for the agent that it begins with; ``model``, a fallback's, outranks all."""

    def slots(self) -> Iterator[Slot]:
        """None: what is asked was filled in when the conversation began."""
        return iter(())

    def result_schema(self, services: Services) -> Schema:
        """``{text, calls, value}``."""
        return {"type": "object", "properties": {"text": {"type": "string"}, "calls": {"type": "array"}, "value": {}}}

    async def run(self, call: StepCall) -> Outcome:
        """One turn, tokens streamed on the way; one that was taken before is taken as it was."""
        from langchain_core.messages import HumanMessage

        talk: Conversation = call.names[CONVERSATION]
        who = self.profile(call.agents, talk.agent)
        # Looking tools up may read files or wait for a server, which is nothing for the event loop.
        functions, described = await asyncio.to_thread(self.offers, call.services, who, talk)
        model, target = await self.found(call, self.model or who.model)
        told = await self._told(who, talk, call, target)
        asked = [*told.messages, *talk.exchanged(), *([HumanMessage(_ENOUGH)] if talk.last else [])]
        answer = await self.answered(call, model, target, asked, who.output, described)
        value: dict[str, Json] = {"text": answer.text, "calls": []}
        if answer.calls and talk.last:
            raise Fault("invalid_output", "The model called a tool although none was offered any more", origin="model")
        if answer.calls:
            value["calls"] = [_wanted(each, functions, who, call.services) for each in answer.calls]
        else:
            value["value"] = answer.value if who.output is not None else answer.text
        usage = {} if call.cached else answer.usage
        return Outcome(value=value, usage=usage, cached=call.cached, model=target, prompt=told.about)

    def profile(self, agents: Mapping[str, Any], name: str) -> Profile:
        """Who takes a turn when it is that agent's."""
        return profile(self.model_copy(update={"model": self.first_model}), agents, name)

    def offers(
        self, services: Services, who: Profile, talk: Conversation
    ) -> tuple[dict[str, str], list[dict[str, Json]]]:
        """The tools that the model is offered, by their names as functions, and how it is told of them.

        Those are all that it may call, or where there are many those that suit, and a search; none in the last turn.
        """
        names = [] if talk.last else self._offered(services, who, talk)
        functions = function_names(names)
        return functions, [_described(function, name, who, services) for function, name in functions.items()]

    def _offered(self, services: Services, who: Profile, talk: Conversation) -> list[str]:
        allowed = self.allowed(services, who)
        handoffs = [f"{HANDOFF}{each.to}" for each in who.handoffs if each.when is None]
        finder = services.finder
        if len(allowed) <= MOST_TOOLS or finder is None:
            return [*allowed, *handoffs]
        suiting = finder.search(talk.told, _SUITING, allowed)
        found = [name for name in talk.found(FIND) if name in allowed]
        return [*dict.fromkeys([*suiting, *found]), FIND, *handoffs]

    def allowed(self, services: Services, who: Profile) -> list[str]:
        """The names of the tools that the agent may call."""
        return [name for name in offered(who.tools, services.tools) if _callable(name, who, services)]

    async def _told(self, who: Profile, talk: Conversation, call: StepCall, target: str) -> Told:
        """What is told before the exchanges, in the room that they leave."""
        room = self.room(call, target, who.output)
        if room.context_length is not None:
            said = await asyncio.to_thread(talk.tokens, target)  # a tokenizer may have to be loaded first
            room = replace(room, context_length=room.context_length - said)
        history = History() if self.history is True else self.history or None
        prompt = RenderedPrompt(system=talk.system, user=talk.told)
        return await Question(prompt=prompt, instructions=who.instructions, history=history).told(call, room)


class AgentCall(CallingNode):
    """Make one call that the model wants, or say why it is not made; its result is told to the model."""

    type: Literal["tool"] = "tool"
    tool: str = Field("", description="The tool, once it is known.")
    turn: AgentTurn = Field(description="The turn that wants the call.")

    def slots(self) -> Iterator[Slot]:
        """The call, and what a person has decided of it."""
        yield Slot(pointer="/item", source="{{ item }}")
        yield Slot(pointer="/decision", source="{{ approve | default: null }}")

    def bound(self, call: StepCall) -> AgentCall:
        """This node with the tool that the model wants."""
        item = call.names.get("item")
        return self.model_copy(update={"tool": item["tool"]}) if isinstance(item, dict) else self

    def effect_of(self, services: Services) -> Effect:
        """The tool's; a call of nothing real has none."""
        tool = services.tools.find(self.tool) if self.tool else None
        if tool is not None:
            return tool.effect
        return "none" if self.tool.startswith((HANDOFF, FIND)) else "write"

    async def run(self, call: StepCall) -> Outcome:
        """What the call comes to.

        Raises:
            Fault: the model's arguments, a person's refusal, or the tool's own failure.
        """
        item, args = call.value("/item"), {}
        if "error" in item:
            raise Fault(item.get("class", "invalid_input"), item["error"], origin="model", stage="arguments")
        args = item["args"]
        if item["tool"].startswith(HANDOFF):
            return Outcome(value={"handoff": item["tool"].removeprefix(HANDOFF)})
        if item["tool"] == FIND:
            found = await asyncio.to_thread(self._found, str(args.get("query", "")), item["agent"], call)
            return Outcome(value=found)
        if item["approval"] == "ask":
            verdict = decided(call.value("/decision"))
            if verdict["type"] == "respond":
                return Outcome(value=verdict.get("message", ""))
            if verdict["type"] == "reject":
                told = f"A person refused the call: {verdict.get('message') or 'no reason given'}"
                raise Fault("refused", told, origin="tool")
            args = verdict["args"] if verdict["type"] == "edit" else args
        return await self._made(call, item["tool"], args)

    def _found(self, query: str, agent: str, call: StepCall) -> list[dict[str, Json]]:
        """The tools that a search finds among those that the agent may call."""
        finder, tools = call.services.finder, call.services.tools
        who = self.turn.profile(call.agents, agent)
        among = self.turn.allowed(call.services, who)
        names = finder.search(query, _SUITING, among) if finder is not None else []
        return [{"name": name, "description": tool.description} for name in names if (tool := tools.find(name))]

    async def _made(self, call: StepCall, name: str, args: dict[str, Json]) -> Outcome:
        tool = await asyncio.to_thread(call.services.tools.find, name)
        if tool is None:
            told = call.services.tools.problem(name) or f"There is no tool {name!r} any more"
            raise Fault("invalid_input", told, origin="tool", stage="arguments")
        check_args(tool, args)
        secrets, limit = call.services.secrets, call.services.result_limits.of(name)
        value = await call.once(
            target=name,
            effect=tool.effect,
            repeatable=tool.effect != "write" or tool.idempotent,
            args=args,
            do=lambda context: perform(tool, args, context, max_bytes=limit, secrets=secrets),
        )
        return Outcome(value=value)


def _callable(name: str, who: Profile, services: Services) -> bool:
    tool = services.tools.find(name)
    return tool is not None and approval(tool, who.approve) != "deny"


def _described(function: str, name: str, who: Profile, services: Services) -> dict[str, Json]:
    """A tool as models are told of it."""
    if name == FIND:
        text = "Find further tools by what they do. Those that are found can be called from the next turn on."
        query = {"type": "string", "description": "What the tool should do."}
        return _function(function, text, {"type": "object", "properties": {"query": query}, "required": ["query"]})
    if name.startswith(HANDOFF):
        handoff = next(each for each in who.handoffs if each.to == name.removeprefix(HANDOFF))
        text = handoff.description or f"Hand the whole task over to the agent {handoff.to}; it answers instead of you."
        message = {
            "type": "string",
            "description": "Everything that it needs to know; it has not read this conversation.",
        }
        return _function(
            function, text, {"type": "object", "properties": {"message": message}, "required": ["message"]}
        )
    tool = services.tools.find(name)
    return _function(function, tool.description, tool.args_schema) if tool else _function(function, "", {})


def _function(name: str, description: str, parameters: Schema) -> dict[str, Json]:
    whole = {"type": "object", "properties": {}, **parameters}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": whole}}


def _wanted(raw: dict[str, Json], functions: Mapping[str, str], who: Profile, services: Services) -> dict[str, Json]:
    """A call that the model wants, with what becomes of it by its policy, or why it cannot be made."""
    name = functions.get(raw["name"], "")
    call = {"id": raw["id"], "function": raw["name"], "tool": name or raw["name"], "agent": who.name}
    call["args"] = raw.get("args") or {}
    if not name:
        return {**call, "approval": "deny", "error": _unknown(raw["name"], functions)}
    if "error" in raw:
        return {**call, "approval": "deny", "error": raw["error"]}
    tool: Tool | None = services.tools.find(name)
    if tool is None:
        return {**call, "approval": "allow"}
    policy = approval(tool, who.approve)
    return {**call, "approval": policy, **({"description": tool.description} if policy == "ask" else {})}


def _unknown(name: str, functions: Mapping[str, str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, functions, 1)
    meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(functions) or 'none'}"
    return f"There is no tool {name!r} for you; {meant}"
