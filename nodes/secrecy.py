"""Secrets around one call: put into its arguments where the spec names them, and taken out of whatever comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from state.errors import Asked, CogworkError, Fault, InDoubt
from state.services import SECRET, CallContext, Secrets
from state.values import Json


def revealed(source: Json, value: Json, secrets: Secrets, tool: str) -> Json:
    """``value``, what the spec's ``source`` was evaluated to for ``tool``, with the secrets that stand in ``source`` itself.

    A reference that came in as data, from an input, a tool or a model, stays the text that it is.

    Raises:
        Fault: ``invalid_input``; a secret is not known, or has no value. ``permission_denied``; it is not for that tool.
    """
    if isinstance(source, dict) and isinstance(value, dict):
        return {key: revealed(source.get(key), item, secrets, tool) for key, item in value.items()}
    if isinstance(source, list) and isinstance(value, list) and len(source) == len(value):
        return [revealed(part, item, secrets, tool) for part, item in zip(source, value, strict=True)]
    if isinstance(source, str) and source == value and (found := SECRET.fullmatch(source)):
        given = secrets.resolve(value)
        if (why := secrets.problem(found[1], tool=tool)) is not None and given != value:
            raise Fault("permission_denied", why, origin="tool", stage="arguments")
        return given
    return value


async def hushed(do: Callable[[CallContext], Awaitable[Json]], context: CallContext, secrets: Secrets) -> Json:
    """What ``do`` gives, without secrets: its result, or what it raises, causes and all.

    Raises:
        Fault, Asked: those of ``do``.
    """
    try:
        return secrets.redact(await do(context))
    except (Fault, Asked) as error:
        told = error
    hush(told, secrets)
    raise told


def hush(error: Fault | Asked, secrets: Secrets) -> None:
    """Take the secrets out of the error itself; its causes are dropped where they hold some."""
    if any(secrets.redact(str(cause)) != str(cause) for cause in _causes(error)):
        error.__cause__ = error.__context__ = None
    error.message = secrets.redact(error.message, cut=True)
    error.args = (error.message,)
    if isinstance(error, Asked):
        told = [error.id, error.form, error.kept, error.show]
        error.id, error.form, error.kept, error.show = secrets.redact(told)
        return
    error.details = secrets.redact(error.details, cut=True)
    if isinstance(error, InDoubt):
        error.reason, error.arguments = secrets.redact([error.reason, error.arguments], cut=True)


def _causes(error: CogworkError) -> Iterator[BaseException]:
    """What led to the error, each once."""
    seen: list[BaseException] = [error]
    while (cause := seen[-1].__cause__ or seen[-1].__context__) is not None and cause not in seen:
        seen.append(cause)
        yield cause
