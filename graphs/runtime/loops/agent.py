"""``agent``: an llm node that works with tools, turn by turn, until it answers; others may take over from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from graphs.analysis.talks import CALL, CALLS, TURN, handoff_place
from graphs.runtime.ends import settle_outcome
from graphs.runtime.frames import Frame, Record
from graphs.runtime.loops.holding import Holding, passed_on
from nodes.agent import CONVERSATION, HANDOFF
from nodes.base import Outcome
from nodes.conversation import Conversation, Exchange
from nodes.llm import LlmNode
from nodes.profile import Profile, profile
from state.errors import Fault
from state.schemas import faults
from state.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handover:
    """A hand-over that is due: to whom, who decided it, and what the other agent is told."""

    source: str
    target: str
    by: str
    told: str


class Talk(Holding):
    """One pass over an agent's step. An item of it is one turn with the calls that it brought about."""

    @property
    def asking(self) -> LlmNode:
        """The step as it is written."""
        assert isinstance(self.member.planned.step, LlmNode)
        return self.member.planned.step

    def evaluated(self) -> Json:
        """What is asked: ``{system, user}``, and ``prompt``, what is to be told of the prompt file."""
        call, node = self.scheduler.call(self.member, None), self.asking
        told, more = node.question(call, "").filled(call, node.room(call, node.model or "", node.output))
        about: Record = {"name": told.name, "version": told.version} if told.name else {}
        if told.shortened:
            about["shortened"] = [each.to_dict() for each in told.shortened]
        system = "\n\n".join(text for text in (told.system, more) if text)
        return {"system": system, "user": told.user, "prompt": about}

    def open_first(self) -> None:
        """The first turn."""
        self.open_item(0)

    def framed(self, index: int) -> Frame:
        """The frame of one turn, which sees the conversation up to it."""
        frame = self.item_frame(index)
        frame.locals = {CONVERSATION: self.conversation(index)}
        return frame

    # -- what was said ---------------------------------------------------------------------------------------

    def conversation(self, index: int) -> Conversation:
        """The conversation before turn ``index``, by what the checkpoint has of those before it."""
        talk = Conversation(
            agent=self.asking.agent or "", system=self.member.given["system"], told=self.member.given["user"]
        )
        for number in range(index):
            record, turn = self.item(number), self.turn(number)
            if (handed := record.get("handoff")) is not None:
                talk = talk.handed_to(handed["target"], handed["told"])
            else:
                talk = talk.after(Exchange(text=turn["text"], calls=tuple(turn["calls"]), results=self.results(number)))
            talk = replace(talk, last=bool(record.get("last")))
        return talk

    def turn(self, index: int) -> dict[str, Json]:
        """What the model said in a turn."""
        turn: dict[str, Json] = self.run.results[f"{self.member.path}[{index}].{TURN}"]
        return turn

    def results(self, index: int) -> tuple[dict[str, Json], ...]:
        """What the calls of a turn came to, in their order."""
        return tuple(self._result(index, number, call) for number, call in enumerate(self.turn(index)["calls"]))

    def _result(self, index: int, number: int, call: dict[str, Json]) -> dict[str, Json]:
        path = f"{self.member.path}[{index}].{CALLS}[{number}].{CALL}"
        if path in self.run.results:
            return {"value": self.run.results[path]}
        record = self.run.records.get(path) or self.run.records.get(path.rpartition(".")[0]) or {}
        unknown = {"class": "internal", "message": f"the call of {call['tool']} left no result"}
        return {"error": record.get("error") or unknown}

    def who(self, talk: Conversation) -> Profile:
        """Who works just now."""
        return profile(self.asking, self.run.plan.scopes[self.member.planned.scope].agents, talk.agent)

    # -- going on --------------------------------------------------------------------------------------------

    def close(self, index: int, frame: Frame) -> None:
        """A turn has ended, with its calls: go on, hand over, answer or fail."""
        path, record = frame.path, dict(self.run.records[frame.path])
        record["ended_at"] = self.scheduler.stamp()
        if frame.error is not None:
            self.batch.note(path, {**record, "status": "failed", "error": frame.error})
            self.scheduler.emit("item.finished", path, status="failed")
            self.fail(passed_on(frame.error))
            return
        try:
            more = self.decided(index)
        except Fault as fault:
            self.batch.note(path, {**record, "status": "done"})
            self.fail(fault)
            return
        self.batch.note(path, {**record, "status": "done", **more})
        self.scheduler.emit("item.finished", path, status="done")
        if self.member.state == "open" and "over" not in more:
            self.open_item(index + 1)
        elif "over" in more:
            self.answer(index, self.final(index))

    def decided(self, index: int) -> Record:
        """How it goes on after a turn: ``{over}``, ``{handoff}``, ``{last}`` or nothing.

        Raises:
            Fault: it cannot go on.
        """
        talk, turn = self.conversation(index), self.turn(index)
        handover = self.handover(talk, turn, self.results(index))
        if handover is not None:
            self._refuse_return(talk, handover)
            told = {"source": handover.source, "target": handover.target, "by": handover.by, "told": handover.told}
            self.scheduler.emit("step.handoff", self.member.path, **told)
            return {"handoff": told}
        if not turn["calls"] or self.stopped_by(index) is not None:
            return {"over": True}
        spent = self.exhausted(talk.after(Exchange(text="", calls=tuple(turn["calls"]), results=())))
        if spent is None:
            return {}
        if self.asking.budget.on_exhausted == "fail":
            raise Fault("budget_exceeded", f"The conversation has {spent} and there is no answer yet", origin="step")
        return {"last": True}

    def exhausted(self, talk: Conversation) -> str | None:
        """Which limit of its own the conversation has reached."""
        budget = self.asking.budget
        tokens, cost = self.spent(talk.turns)
        if talk.turns >= budget.max_turns:
            return f"had its {budget.max_turns} turns"
        if talk.calls >= budget.max_calls:
            return f"made {talk.calls} of at most {budget.max_calls} tool calls"
        if budget.max_tokens is not None and tokens >= budget.max_tokens:
            return f"used {tokens:,} of at most {budget.max_tokens:,} tokens"
        if budget.max_cost_usd is not None and cost >= budget.max_cost_usd:
            return f"cost {cost:.4f} of at most {budget.max_cost_usd:g} USD"
        return None

    def spent(self, turns: int) -> tuple[int, float]:
        """Tokens and USD that the turns so far have used."""
        usages = [self.run.records[f"{self.member.path}[{i}].{TURN}"].get("usage") or {} for i in range(turns)]
        return sum(int(u.get("total_tokens") or 0) for u in usages), sum(float(u.get("cost_usd") or 0) for u in usages)

    def stopped_by(self, index: int) -> int | None:
        """Which call of the turn ends the conversation, by ``stop_after``."""
        results = self.results(index)
        for number, call in enumerate(self.turn(index)["calls"]):
            if call["tool"] in self.asking.stop_after and "error" not in results[number]:
                return number
        return None

    # -- handing over ----------------------------------------------------------------------------------------

    def handover(
        self, talk: Conversation, turn: dict[str, Json], results: tuple[dict[str, Json], ...]
    ) -> _Handover | None:
        """The hand-over that a turn brings about: the model has called for it, or its answer meets a trigger."""
        source = talk.agent
        for call, result in zip(turn["calls"], results, strict=True):
            if call["tool"].startswith(HANDOFF) and "error" not in result:
                target = call["tool"].removeprefix(HANDOFF)
                return _Handover(source=source, target=target, by="model", told=str(call["args"].get("message", "")))
        if turn["calls"]:
            return None
        for index, handoff in enumerate(self.who(talk).handoffs):
            if handoff.when is not None and self._holds(source, index, turn["value"]):
                told = self._told(source, index, turn["value"])
                return _Handover(source=source, target=handoff.to, by="trigger", told=told)
        return None

    def _holds(self, agent: str, index: int, output: Json) -> bool:
        call = self.scheduler.call(self.member, None)
        holds = call.value(f"{handoff_place(agent, index)}/when", {"output": output})
        if not isinstance(holds, bool):
            raise Fault(
                "invalid_input", f"The trigger of a hand-over of {agent} must be true or false, not {holds!r:.80}"
            )
        return holds

    def _told(self, agent: str, index: int, output: Json) -> str:
        """What the agent that takes over is told: the mapped data, else the answer of the one before."""
        call = self.scheduler.call(self.member, None)
        data = call.value(f"{handoff_place(agent, index)}/with", {"output": output})
        told = data or output
        return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False, indent=2)

    def _refuse_return(self, talk: Conversation, handover: _Handover) -> None:
        if handover.target in (*talk.past, talk.agent):
            ring = " → ".join([*talk.past, talk.agent, handover.target])
            raise Fault("invalid_input", f"A hand-over may not lead back: {ring}", stage="schedule")

    # -- ending ----------------------------------------------------------------------------------------------

    def final(self, index: int) -> Json:
        """The answer: the model's, or the result of the call that ended the conversation."""
        number = self.stopped_by(index)
        return self.turn(index)["value"] if number is None else self.results(index)[number]["value"]

    def answer(self, index: int, value: Json) -> None:
        """The step has its value, if it fits what the step promises."""
        schema = self.asking.output
        if schema and (found := faults(schema, value)):
            told = f"The answer of the agent does not fit what the step promises: {'; '.join(found)}"
            self.fail(Fault("invalid_output", told[:2_000], origin="model", details={"faults": found}))
            return
        talk = self.conversation(index)
        started = self.run.records[self.member.path]["started_at"]
        more: Record = {"started_at": started, "count": index + 1, "attempts": 1}
        if talk.past:
            more["agents"] = [*talk.past, talk.agent]
        self.held()
        outcome = Outcome(
            value=value, messages=tuple(self._exchange(value)), prompt=self.member.given.get("prompt") or {}
        )
        settle_outcome(self.scheduler, self.batch, self.member, outcome, **more)

    def _exchange(self, value: Json) -> Iterator[Any]:
        """What joins the thread's messages, where the step wants that."""
        if self.asking.question(self.scheduler.call(self.member, None), "").joins:
            from langchain_core.messages import AIMessage, HumanMessage

            yield HumanMessage(self.member.given["user"])
            yield AIMessage(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
