"""No request leaves the allowed hosts, reaches an own network unasked, waits without end, or takes an answer without end."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import re
import socket
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cogwork.tools.addresses import Place, Reach, is_reachable
from cogwork.tools.net import Client
from state.errors import Fault

Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]
OWN_NAMES = {
    "127.0.0.1.nip.io": "127.0.0.1",
    "10.0.0.1.nip.io": "10.0.0.1",
    "192-168-1-1.sslip.io": "192.168.1.1",
    "7f000001.nip.io": "127.0.0.1",
    "localtest.me": "127.0.0.1",
    "localhost": "127.0.0.1",
    "localhost.localdomain": "127.0.0.1",
    "LOCALHOST": "127.0.0.1",
    "foo.localhost": "127.0.0.1",
    "ip6-localhost": "::1",
    "localhost.": "127.0.0.1",
    "metadata.google.internal": "169.254.169.254",
    "instance-data.ec2.internal": "169.254.169.254",
    "a9fea9fe.nip.io": "169.254.169.254",
    "mapped.example": "::ffff:10.0.0.1",
    "sixtofour.example": "2002:7f00:1::",
    "nat64.example": "64:ff9b::7f00:1",
    "linklocal.example": "fe80::1%eth0",
    "cgnat.example": "100.64.0.1",
    "router.example": "0.0.0.0",
}
"""Names that lead to an own network, and where."""
LITERALS = re.findall(
    r"\S+",
    """
127.0.0.1 127.1 127.0.1 127.000.000.001 0177.0.0.1 0177.0.0.01 0x7f.0.0.1 0x7f.1 0x7f000001 0x7F000001 2130706433 017700000001
0 0.0.0.0 0x0 00 127.127.127.127 127.255.255.254 0x7f.0x0.0x0.0x1 0177.1 127.0x1
10.0.0.1 10.1 0xa.1 012.1 167772161 172.16.0.1 172.31.255.255 2886729729 192.168.0.1 192.168.1 3232235521 0xc0a80001
0300.0250.0.1 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 169.16689662 100.64.0.1 100.127.255.254
198.18.0.1 192.0.0.8 192.0.2.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.88.99.1
127.0.0.1. 127。0。0。1 127．0．0．1 127｡0｡0｡1 １２７.0.0.1 ①②⑦.⓪.⓪.① 1٢7.0.0.1 %31%32%37.0.0.1 127.0.0.1%00.example.com
""",
)
V6 = re.findall(
    r"\S+",
    """
::1 :: 0:0:0:0:0:0:0:1 0000::1 ::0001 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:0:127.0.0.1 ::127.0.0.1 ::7f00:1 ::ffff:10.0.0.1
::ffff:169.254.169.254 ::ffff:a9fe:a9fe 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe::
2002:0a00:0001::1 2001:0:7f00:1::1 2001:db8::1 fe80::1 fe80::1%25eth0 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1
100::1 3fff::1 5f00::1 4000::1 2001:4860::5efe:7f00:1 2001:4860::200:5efe:7f00:1
""",
)
SPELLINGS = [*LITERALS, *(f"[{each}]" for each in V6), *OWN_NAMES]


async def like_the_system(host: str, port: int) -> list[str]:
    """What a system's resolver makes of numbers in any spelling, and of names."""
    if host in OWN_NAMES:
        return [OWN_NAMES[host]]
    if ":" in host:
        return [host.replace("%25", "%")]
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        raise socket.gaierror(socket.EAI_NONAME, "unknown") from None


async def never(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def test_there_are_many_spellings() -> None:
    assert len(set(SPELLINGS)) >= 100


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_an_own_address_is_reached_even_where_the_settings_list_it(spelling: str) -> None:
    try:
        reach = Reach.of([spelling])
    except ValueError:
        reach = Reach(frozenset({Place(spelling.strip("[]").lower())}))
    with pytest.raises(Fault) as caught:
        await Client(reach=reach, resolver=like_the_system).send("GET", f"https://{spelling}/", seconds=2)
    known = caught.value.fault_class in ("permission_denied", "invalid_input")
    assert known or "is not known" in caught.value.message, caught.value


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/", "https://api.example.other.example/", "https://other.example#@api.example/",
        "https://other.example?@api.example/", "https://api.example@other.example/", "https://api.example:x@other.example/",
        "https://user@api.example/", "https://user:pass@api.example/", "https://api.example:8443/", "https://api.example:22/",
        "http://api.example/", "http://api.example:443/", "ftp://api.example/", "file:///etc/passwd", "gopher://api.example/",
        "https:api.example/", "//api.example/", "/etc/passwd", "", "https://", "https:///api.example", "https://api.example./",
        "https://api.example%2eother.example/", "https://api.example%00/", "https://api_example/", "https://xapi.example/",
        "https://api.example\\@other.example/", "https://other.example\\.api.example/", "https://api。example.other/",
        "https://[api.example]/", "https://api.example:99999/", "https://api.example:-1/", "javascript:alert(1)",
        "data:text/plain,hello", "https://api.exam\nple/", "https://api.example\t.other/", "https://аpi.example/",
    ],
)  # fmt: skip
async def test_what_is_not_an_allowed_host_is_refused_before_it_is_looked_up(url: str) -> None:
    with pytest.raises(Fault) as caught:
        await Client(reach=Reach.of(["api.example"]), resolver=never).send("GET", url)
    assert caught.value.fault_class in ("permission_denied", "invalid_input")
    assert "pass" not in caught.value.message or "passwd" in url


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "1.1.1.1"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert is_reachable(address, private=False)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "x", ""]
)
def test_some_addresses_may_not_be_reached_even_by_hosts_that_may_be_private(address: str) -> None:
    assert not is_reachable(address, private=True)


@pytest.mark.parametrize(
    "entry", ["*.example", "https://api.example", "a b", "api.example/x", "u@api.example", "a:0", "a:70000", ""]
)
def test_an_entry_of_the_list_is_a_host_and_nothing_else(entry: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        Reach.of([entry])


async def test_one_own_address_among_public_ones_is_enough_to_refuse_the_host() -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(Fault, match=r"leads to 10\.0\.0\.1") as caught:
        await Client(reach=Reach.of(["api.example"]), resolver=both).send("GET", "https://api.example/")
    assert caught.value.fault_class == "permission_denied"


# -- against a server that answers what it is told ------------------------------------------------------------------------


class Raw:
    """A server on loopback whose answers a test writes byte by byte; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.port = 0

    @asynccontextmanager
    async def answering(
        self, write: Writes, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[Raw]:
        """Serve while the block lasts."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await write(writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, host, self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


def plain(body: bytes, status: str = "200 OK", **headers: str) -> Writes:
    """One answer with its length."""

    async def write(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return write


def local(raw: Raw, **more: object) -> tuple[Client, str]:
    """A client that may ask this machine, and the server's address."""
    client = Client(reach=Reach.of([], [f"127.0.0.1:{raw.port}"]), **more)  # type: ignore[arg-type]
    return client, f"http://127.0.0.1:{raw.port}/x"


async def test_a_private_host_is_reached_where_the_settings_say_so_and_on_no_other_port() -> None:
    async with Raw().answering(plain(b"hello")) as raw:
        client, url = local(raw)
        answer = await client.send("GET", url)
        assert (answer.status, answer.body) == (200, b"hello")
        with pytest.raises(Fault, match="not in the list"):
            await client.send("GET", "http://127.0.0.1:1/")


async def test_a_host_is_resolved_once_and_the_connection_goes_to_the_address_that_was_checked() -> None:
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with Raw().answering(plain(b"the first")) as raw:
        client = Client(reach=Reach.of([], [f"api.example:{raw.port}"]), resolver=rebinding)
        answer = await client.send("GET", f"http://api.example:{raw.port}/")
        assert answer.body == b"the first"
        assert asked == ["api.example"]
        assert f"host: api.example:{raw.port}".encode() in raw.requests[0].lower()


async def test_a_dead_address_is_passed_over_for_the_next() -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    async with Raw().answering(plain(b"second")) as raw:
        client = Client(reach=Reach.of([], [f"api.example:{raw.port}"]), resolver=two)
        assert (await client.send("GET", f"http://api.example:{raw.port}/")).body == b"second"


async def test_a_redirect_is_not_followed() -> None:
    async with Raw().answering(plain(b"", "302 Found", Location="http://169.254.169.254/latest")) as raw:
        client, url = local(raw)
        answer = await client.send("GET", url)
    assert (answer.status, len(raw.requests)) == (302, 1)


async def test_proxies_and_keys_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password canary")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Raw().answering(plain(b"direct")) as raw:
        client, url = local(raw)
        assert (await client.send("GET", url)).body == b"direct"
    assert b"authorization" not in raw.requests[0].lower()


async def _refused(write: Writes, **more: object) -> Fault:
    async with Raw().answering(write) as raw:
        client, url = local(raw)
        with pytest.raises(Fault) as caught:
            await client.send("GET", url, **more)  # type: ignore[arg-type]
        return caught.value


async def test_an_answer_larger_than_the_cap_is_stopped_whether_it_says_its_length_or_not() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    for write in (endless, plain(b"x" * 200_000)):
        fault = await _refused(write, max_bytes=100_000)
        assert fault.fault_class == "invalid_output"
        assert "larger than 100,000 bytes" in fault.message


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_an_answer_is_capped_as_it_unpacks_and_unpacked_within_the_cap(packing: str) -> None:
    pack = gzip.compress if packing == "gzip" else zlib.compress
    bomb = pack(b"\0" * 50_000_000)
    tracemalloc.start()
    fault = await _refused(plain(bomb, Content_Encoding=packing), max_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (fault.fault_class, "larger" in fault.message) == ("invalid_output", True)
    assert peak < 10_000_000
    async with Raw().answering(plain(pack(b"small"), Content_Encoding=packing)) as raw:
        client, url = local(raw)
        assert (await client.send("GET", url)).body == b"small"


@pytest.mark.parametrize(
    ("body", "packing", "fault_class"),
    [
        (b"no gzip", "gzip", "invalid_output"),
        (gzip.compress(b"x" * 999, mtime=0)[:-9], "gzip", "connection"),
        (b"x", "br", "invalid_output"),
    ],
)
async def test_an_answer_that_cannot_be_unpacked_is_a_fault(body: bytes, packing: str, fault_class: str) -> None:
    assert (await _refused(plain(body, Content_Encoding=packing))).fault_class == fault_class


async def test_the_deadline_is_for_the_whole_answer_and_not_for_each_piece() -> None:
    async def dripping(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    for write in (dripping, silent):
        assert (await _refused(write, seconds=0.3)).fault_class == "timeout"


async def test_an_answer_cut_in_its_middle_is_a_lost_connection_and_no_answer() -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async def nothing(writer: asyncio.StreamWriter) -> None:
        return

    async def garbage(writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        await writer.drain()

    for write in (cut, nothing, garbage):
        assert (await _refused(write)).fault_class == "connection"


async def test_what_never_was_sent_is_unavailable_and_so_known_not_to_be_done() -> None:
    async with Raw().answering(plain(b"")) as raw:
        client, url = local(raw)
    with pytest.raises(Fault) as caught:
        await client.send("POST", url)
    assert caught.value.fault_class == "unavailable"

    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async def stalling(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    for resolver in (unknown, stalling):
        with pytest.raises(Fault) as caught:
            await Client(reach=Reach.of(["api.example"]), resolver=resolver).send(
                "POST", "https://api.example/", seconds=0.2
            )
        assert caught.value.fault_class == "unavailable"


@pytest.mark.parametrize("header", [{"X-A": "line\r\nX-B: injected"}, {"X-A": "nul\0"}, {"X A": "x"}])
async def test_a_header_cannot_be_smuggled_in_and_is_not_repeated_in_the_fault(header: dict[str, str]) -> None:
    async with Raw().answering(plain(b"")) as raw:
        client, url = local(raw)
        with pytest.raises(Fault) as caught:
            await client.send("GET", url, headers=header)
    assert caught.value.fault_class == "invalid_input"
    assert "injected" not in caught.value.message
    assert raw.requests == []


# -- TLS -----------------------------------------------------------------------------------------------------------------


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext, list[str | None]]:
    """TLS for a server of that name, for clients that trust it, and the names that clients asked for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(pem + secret)
    server, asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), list[str | None]()
    server.load_cert_chain(folder / "cert.pem")
    server.sni_callback = lambda _, wanted, __: asked.append(wanted)
    return server, ssl.create_default_context(cadata=pem.decode()), asked


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path) -> None:
    server, trust, asked = certified(tmp_path, "api.example")

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Raw().answering(plain(b"secret"), tls=server) as raw:
        reach = Reach.of([], [f"api.example:{raw.port}", f"other.example:{raw.port}"])
        client = Client(reach=reach, resolver=here, tls=trust)
        assert (await client.send("GET", f"https://api.example:{raw.port}/")).body == b"secret"
        with pytest.raises(Fault, match="certificate") as caught:
            await client.send("GET", f"https://other.example:{raw.port}/")
        assert caught.value.fault_class == "unavailable"
        with pytest.raises(Fault, match="certificate"):
            await Client(reach=reach, resolver=here).send("GET", f"https://api.example:{raw.port}/")
    assert asked == ["api.example", "other.example", "api.example"]
    assert len(raw.requests) == 1
