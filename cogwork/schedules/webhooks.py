"""Requests of webhooks: who has sent them, what they hold, and what tells one from another."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import Message
from typing import Final
from urllib.parse import parse_qsl

from cogwork.errors import EngineError
from cogwork.records.columns import EPOCH
from graphs.language.triggers import WebhookTrigger
from state.values import Json, UnfitValue, normalise

_KEPT_BACK: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_FIELDS: Final = 1000
_SECONDS: Final = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request that its sender has signed; ``key`` tells it from all others of the trigger."""

    key: str
    headers: dict[str, str]
    body: Json


def received(
    definition: WebhookTrigger, secret: str, headers: Mapping[str, str], body: bytes, now: datetime
) -> Delivery:
    """The delivery that a request is.

    Raises:
        EngineError: ``permission_denied`` for a signature that is missing, wrong or too old; ``invalid_input`` for a body that
            is too large, or neither JSON nor a form.
    """
    if len(body) > definition.max_bytes:
        told = f"The body has {len(body):,} bytes, and the trigger takes at most {definition.max_bytes:,}"
        raise EngineError("invalid_input", told, bytes=len(body), limit=definition.max_bytes)
    plain = {name.lower(): value for name, value in headers.items()}
    stamp = _stamp(definition, plain, now)
    if not _signed(definition, secret, plain.get(definition.header.lower(), ""), stamp, body):
        told = f"The request is not signed as the trigger wants: see its header {definition.header} and its secret"
        raise EngineError("permission_denied", told)
    kept_back = _KEPT_BACK | {definition.header.lower()}
    return Delivery(
        key=_key(definition, plain, stamp, body),
        headers={name: value for name, value in plain.items() if name not in kept_back},
        body=_read(plain.get("content-type", "application/json"), body),
    )


def _stamp(definition: WebhookTrigger, headers: Mapping[str, str], now: datetime) -> str:
    if definition.timestamp_header is None:
        return ""
    given = headers.get(definition.timestamp_header.lower(), "").strip()
    if not _SECONDS.fullmatch(given):
        raise EngineError("permission_denied", f"The request has no time of sending in {definition.timestamp_header}")
    try:
        sent = EPOCH + timedelta(seconds=float(given))
    except OverflowError as err:
        raise EngineError("permission_denied", "The time of sending is out of range") from err
    if abs((now - sent).total_seconds()) > definition.tolerance:
        told = (
            f"The request was sent more than {definition.tolerance:g} s from now: it may be a repetition of an old one"
        )
        raise EngineError("permission_denied", told)
    return given


def _signed(definition: WebhookTrigger, secret: str, header: str, stamp: str, body: bytes) -> bool:
    before, _, behind = definition.signed.partition("{body}")
    parts = [part.replace("{timestamp}", stamp).encode() for part in (before, behind)]
    wanted = hmac.new(secret.encode(), parts[0] + body + parts[1], hashlib.sha256).digest()
    fits = False
    for each in re.split(r"[,\s]+", header)[:8]:
        given = (
            _decoded(definition, each.removeprefix(definition.prefix)) if each.startswith(definition.prefix) else b""
        )
        fits |= hmac.compare_digest(given, wanted)
    return fits


def _decoded(definition: WebhookTrigger, text: str) -> bytes:
    try:
        return bytes.fromhex(text) if definition.encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _key(definition: WebhookTrigger, headers: Mapping[str, str], stamp: str, body: bytes) -> str:
    given = headers.get(definition.delivery_header.lower(), "") if definition.delivery_header is not None else ""
    told = f"id:{given}".encode() if given else f"body:{stamp}:".encode() + body
    return hashlib.sha256(told).hexdigest()[:32]


def _read(content_type: str, body: bytes) -> Json:
    message = Message()
    message["content-type"] = content_type
    kind, charset = message.get_content_type(), str(message.get_param("charset", "utf-8"))
    try:
        if kind == "application/x-www-form-urlencoded":
            fields: dict[str, Json] = {}
            for name, value in parse_qsl(body.decode(charset), keep_blank_values=True, max_num_fields=_FIELDS):
                fields[name] = [*_listed(fields[name]), value] if name in fields else value
            return normalise(fields)
        if kind == "application/json" or kind.endswith("+json"):
            return normalise(json.loads(body.decode(charset)))
    except (ValueError, LookupError, RecursionError, UnfitValue) as err:
        raise EngineError("invalid_input", f"The body is no {kind}: {str(err)[:200]}") from err
    raise EngineError(
        "invalid_input",
        f"The body is {kind[:60]!r}: a webhook takes application/json or application/x-www-form-urlencoded",
    )


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
