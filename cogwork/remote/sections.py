"""What the settings say of other instances, and of this one as they see it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from cogwork.secrets import SecretSource
from cogwork.sections import Period, Section

Policy: TypeAlias = Literal["local", "label", "least_loaded", "round_robin"]
Label: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$", max_length=63)]
HERE: Final = "local"
"""The target that means this instance."""
NAME: Final = re.compile(r"[A-Za-z][\w-]{0,62}", re.ASCII)


class InstanceSection(Section):
    """Another instance."""

    url: str = Field(description="Where it serves, such as https://gpu-1.example.org:4020.")
    token: SecretStr | SecretSource | None = Field(
        default=None, description="The token that it has given this one: {env = …}, {file = …}, or the token itself."
    )
    labels: list[Label] = Field(default_factory=list, description="What it is known by, such as gpu or eu.")
    timeout: Period = Field(default=30.0, description="How long one request may take.")
    unencrypted: bool = Field(
        default=False, description="Whether a token goes to it over http although it is not on this machine."
    )
    ca: Path | None = Field(
        default=None, description="Who signs its certificate, PEM; the usual authorities without it."
    )
    certificate: Path | None = Field(default=None, description="The certificate that is shown to it, PEM.")
    key: Path | None = Field(default=None, description="The certificate's private key, PEM.")

    @field_validator("url")
    @classmethod
    def _is_address(cls, text: str) -> str:
        try:
            parts = urlsplit(text)
            known = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
            )
        except ValueError:
            known = False
        if not known or parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ValueError("must be the address of a server, such as https://gpu-1.example.org:4020")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _encrypted(self) -> InstanceSection:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not self.unencrypted and not _is_here(str(parts.hostname)):
            raise ValueError("over http a token can be read on the way: use https, or say unencrypted = true")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        return self


class RemoteSection(Section):
    """How executions find their instance."""

    policy: Policy = Field(
        default="local",
        description="Where executions run that say nothing: `local` here; `label` here where the labels allow it, else on an "
        "instance that has them; `least_loaded` and `round_robin` on the other instances.",
    )
    restart: Literal["never", "reads", "always"] = Field(
        default="reads",
        description="Which executions begin again elsewhere when their instance is lost: those whose workflow changes nothing, "
        "none, or all.",
    )
    lost_after: Period = Field(default=60.0, description="How long an instance may be silent before it counts as lost.")
    look: Period = Field(default=5.0, description="How often is looked at executions that rest on other instances.")
    events: int = Field(default=100_000, ge=0, description="How many events of one execution are taken over, at most.")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
