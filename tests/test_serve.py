"""``cogwork serve`` in a process of its own: it says where it listens, lets nobody in without a token, and ends in order."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from cogwork.cli.root import cli
from tests.certified import Authority
from tests.serving import serving

pytestmark = pytest.mark.req("M5", "M10")


def test_the_server_says_where_it_listens_asks_for_a_token_and_ends_in_order(tmp_path: Path) -> None:
    with serving(tmp_path) as server, httpx2.Client(base_url=server.address) as client:
        assert client.get("/health/ready").json() == {"status": "ready"}
        assert client.get("/api/v1/executions").status_code == 401
        assert len(server.code) >= 32
        assert server.terminate() == 0
        assert "Traceback" not in "".join(server.said)


def test_without_tokens_it_serves_on_loopback_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(cli, ["serve", "--no-auth", "--host", "0.0.0.0", "--port", "0"])
    assert (refused.exit_code, "loopback only" in refused.output) == (2, True)
    unnamed = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert (unnamed.exit_code, "server.allowed_hosts" in unnamed.output) == (2, True)
    with serving(tmp_path, "--no-auth") as server:
        assert httpx2.get(f"{server.address}/api/v1/executions").json() == {"executions": [], "cursor": None}


@pytest.mark.req("M9")
def test_a_certificate_of_the_authority_says_who_calls_and_others_are_turned_away(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.vouches_for("server")
    ops, other = authority.vouches_for("ops"), authority.vouches_for("somebody")
    foreign = Authority(tmp_path, "foreign").vouches_for("ops.foreign")
    tls = {
        "CERTIFICATE": str(certificate),
        "KEY": str(key),
        "CLIENT_AUTHORITIES": str(authority.file),
        "CLIENTS": '{"CN=ops": "viewer"}',
    }
    settings = {f"COGWORK_SERVER__TLS__{name}": value for name, value in tls.items()}
    with serving(tmp_path, **settings) as server:
        assert server.address.startswith("https://")

        def status(shown: tuple[Path, Path] | None) -> int:
            context = ssl.create_default_context(cafile=str(authority.file))
            if shown is not None:
                context.load_cert_chain(*map(str, shown))
            with httpx2.Client(verify=context, base_url=server.address) as client:
                return client.get("/api/v1/executions").status_code

        assert status(ops) == 200
        assert status(other) == 401
        for shown in (None, foreign):
            with pytest.raises(httpx2.TransportError):
                status(shown)
