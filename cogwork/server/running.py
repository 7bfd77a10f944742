"""The application served by uvicorn: on its address, with its certificate, until it is asked to end."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from cogwork.errors import EngineError
from cogwork.identity.certificates import principal_of
from cogwork.observability.logs import configured
from cogwork.server.asgi import Application
from cogwork.server.hosts import is_loopback
from cogwork.server.sockets import Certified, protocol

if TYPE_CHECKING:
    from cogwork.identity.roles import Principal
    from cogwork.settings import Settings

GRACE_SECONDS = 20


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens, and drains the doors as it ends."""

    def __init__(self, config: uvicorn.Config, application: Application, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._application, self._told = application, ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in order at SIGTERM and SIGINT, and with that as the process's own end, not as killed by them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {which: signal.signal(which, self.handle_exit) for which in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    async def startup(self, sockets: Any = None) -> None:
        """Open the doors and listen."""
        await super().startup(sockets)
        if self.should_exit:
            return
        port = next(socket.getsockname()[1] for each in self.servers for socket in each.sockets)
        scheme = "https" if self.config.is_ssl else "http"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        self._told(f"{scheme}://{host}:{port}")

    async def shutdown(self, sockets: Any = None) -> None:
        """Take no more, let what is being answered end, and close the doors."""
        doors = self._application.api.state.doors
        doors.draining = True
        await doors.feeds.close()
        await super().shutdown(sockets)


def serve(settings: Settings, ready: Callable[[str, Application], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the address once it listens.

    Raises:
        EngineError: ``invalid_input`` for settings under which nobody should serve.
    """
    chosen = settings.server
    checked(settings)
    configured(settings)
    application = Application(settings)
    secured: dict[str, Any] = {}
    certified: Certified | None = None
    if (tls := chosen.tls) is not None:
        asked = ssl.CERT_REQUIRED if tls.client_authorities is not None else ssl.CERT_NONE
        secured = {
            "ssl_certfile": str(tls.certificate),
            "ssl_keyfile": str(tls.key),
            "ssl_ca_certs": str(tls.client_authorities) if tls.client_authorities is not None else None,
            "ssl_cert_reqs": asked,
        }
        certified = partial(_holder, tls.clients) if tls.client_authorities is not None else None
    limits = chosen.limits
    config = uvicorn.Config(
        application,
        host=chosen.host,
        port=chosen.port,
        http=protocol(limits.head_seconds, limits.stall_seconds, certified),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_keep_alive=int(limits.head_seconds),
        timeout_graceful_shutdown=GRACE_SECONDS,
        **secured,
    )
    Server(config, application, lambda address: ready(address, application)).run()


def _holder(clients: Mapping[str, str], certificate: Mapping[str, Any]) -> Principal | None:
    """Who holds a verified certificate; None where no rule of the settings is about it, so that it takes a token too."""
    try:
        return principal_of(certificate, cast("Any", clients))
    except EngineError:
        return None


def checked(settings: Settings) -> None:
    """Go on only with settings under which a server is safe.

    Raises:
        EngineError: ``invalid_input``; it would be open to everybody, or answer under any name.
    """
    chosen = settings.server
    if is_loopback(chosen.host):
        return
    if chosen.auth == "none":
        raise EngineError("invalid_input", f"auth = none is for loopback only, and host is {chosen.host}: use tokens")
    if not chosen.allowed_hosts:
        message = f"host is {chosen.host}: say in server.allowed_hosts under which names the server is called"
        raise EngineError("invalid_input", message)
