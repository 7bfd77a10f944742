"""What commands share that write to the audit log or read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from cogwork.cli import context

if TYPE_CHECKING:
    from cogwork.identity.audit import Audit
    from cogwork.identity.roles import Verb
    from cogwork.records import Records
    from state.values import Json

T = TypeVar("T")


@asynccontextmanager
async def opened_audit() -> AsyncIterator[tuple[Records, Audit]]:
    """The records of the settings and their audit log."""
    from cogwork.identity.audit import Audit

    app = context.opened()
    audit: Audit | None = None
    try:
        records = await asyncio.to_thread(app.records)
        audit = Audit(records, hide=app.secrets.redact)
        yield records, audit
    finally:
        if audit is not None:
            await asyncio.to_thread(audit.close)
        await asyncio.to_thread(app.close)


async def by_local(
    audit: Audit, verb: Verb, target: str, details: Mapping[str, Json], work: Callable[[], Awaitable[T]]
) -> T:
    """What ``work`` comes to, in the audit log as done by the user of the operating system."""
    import secrets

    from cogwork.identity.deeds import Deed
    from cogwork.identity.roles import LOCAL

    deed = Deed(
        principal=LOCAL,
        verb=verb,
        target=target,
        audit=audit,
        door=context.ORIGIN,
        request_id=f"req-{secrets.token_hex(6)}",
        details={"user": _user(), **details},
    )
    return await deed.perform(work)


def _user() -> str:
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
