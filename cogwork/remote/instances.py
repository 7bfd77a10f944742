"""The instances of the settings: by name, and in the order in which they are to be given an execution."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cogwork.breaker import Breakers
from cogwork.errors import EngineError, not_found
from cogwork.remote.answers import Standing
from cogwork.remote.instance import Instance, Refused
from cogwork.remote.sections import HERE, InstanceSection, Policy
from state.errors import Fault

COOLDOWN: Final = 5.0
"""For how long, in seconds, an instance is left alone that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An instance as it was found: its standing, or why there is none."""

    instance: Instance
    standing: Standing | None
    trouble: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes executions."""
        return self.standing is not None and self.standing.accepting


class Instances(Mapping[str, Instance]):
    """The instances of the settings, and no others."""

    def __init__(
        self, sections: Mapping[str, InstanceSection], breakers: Breakers, environment: Mapping[str, str]
    ) -> None:
        self._made = {
            name: Instance(
                name=name,
                section=section,
                breaker=breakers.of(f"instance:{name}", cooldown=COOLDOWN),
                environment=environment,
            )
            for name, section in sections.items()
        }
        self._turns = itertools.count()

    def __getitem__(self, name: str) -> Instance:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def named(self, name: str) -> Instance:
        """The instance of that name.

        Raises:
            EngineError: ``invalid_input``; the settings have none of that name.
        """
        if (found := self._made.get(name)) is not None:
            return found
        known = [*self._made, HERE]
        told = not_found("not_found", "instance", name, known).message
        raise EngineError("invalid_input", f"{told}; the settings have {', '.join(known)}", target=name[:200])

    def having(self, labels: Collection[str]) -> list[str]:
        """The names of those that have all of these labels."""
        return [name for name, each in self._made.items() if set(labels) <= set(each.section.labels)]

    async def look(self, names: Iterable[str] | None = None, seconds: float | None = None) -> list[Looked]:
        """How those of the names stand, or all; asked at the same time."""
        chosen = [self._made[name] for name in (self._made if names is None else names)]
        return list(await asyncio.gather(*(_looked(each, seconds) for each in chosen)))

    async def order(self, policy: Policy, names: Sequence[str]) -> list[Instance]:
        """Those of the names, the one that the policy means first; those that cannot take anything now last."""
        if policy == "round_robin" or len(names) < 2:
            turn = next(self._turns) % max(1, len(names))
            turned = [self._made[name] for name in (*names[turn:], *names[:turn])]
            return sorted(turned, key=lambda each: each.breaker.state == "open")
        found = await self.look(names, seconds=5.0)
        return [each.instance for each in sorted(found, key=_burden)]


async def _looked(instance: Instance, seconds: float | None) -> Looked:
    try:
        async with asyncio.timeout(seconds):
            standing = await instance.standing()
    except (Fault, Refused) as err:
        return Looked(instance=instance, standing=None, trouble=str(err))
    except TimeoutError:
        return Looked(instance=instance, standing=None, trouble=f"it did not answer within {seconds:g} s")
    return Looked(instance=instance, standing=standing)


def _burden(looked: Looked) -> tuple[bool, int]:
    load = looked.standing.load if looked.standing is not None else 0
    return (not looked.ready, load + looked.instance.starting)
