"""Who may do what, what is written down of it, and who a certificate's holder is."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogwork.errors import EngineError, Unauthenticated
from cogwork.identity.certificates import Rule, checked, principal_of
from cogwork.identity.roles import CHANGING, LEAST, LOCAL, ROLES, Principal, Role, Verb
from cogwork.server.acting import Acting
from state.errors import CogworkError

pytestmark = pytest.mark.req("M9")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
VERBS = get_args(Verb)
EACH_ROLE = st.sampled_from(ROLES)


def principal(role: Role) -> Principal:
    return Principal(id=role, name=role, role=role)


# -- roles -------------------------------------------------------------------------------------------------------


@given(lesser=EACH_ROLE, greater=EACH_ROLE, verb=st.sampled_from(VERBS))
def test_each_role_may_do_all_that_the_ones_before_it_may(lesser: Role, greater: Role, verb: Verb) -> None:
    if ROLES.index(lesser) <= ROLES.index(greater):
        assert principal(lesser).may(verb) <= principal(greater).may(verb)
    assert principal("admin").may(verb)


def test_a_viewer_changes_nothing_and_every_verb_has_a_least_role() -> None:
    assert set(LEAST) == set(VERBS)
    assert not any(principal("viewer").may(verb) for verb in CHANGING)
    for verb, least in LEAST.items():
        assert {role for role in ROLES if principal(role).may(verb)} == set(ROLES[ROLES.index(least) :])


@pytest.mark.req("E7")
def test_a_refusal_says_which_role_it_takes() -> None:
    with pytest.raises(EngineError) as caught:
        principal("viewer").require("executions.move")
    assert caught.value.code == "permission_denied"
    assert caught.value.details == {"verb": "executions.move", "role": "viewer", "required": "operator"}
    assert str(caught.value) == "viewer is viewer, and executions.move takes the role operator"
    LOCAL.require("tokens.write")


# -- deeds -------------------------------------------------------------------------------------------------------


class Log:
    """An audit log in memory, which fails from the given entry on."""

    def __init__(self, fails_from: int = 99) -> None:
        self.noted: list[tuple[str, str, str, str]] = []
        self.fails_from = fails_from

    async def note(self, principal: Principal, verb: Verb, target: str, *, outcome: str, **_: Any) -> None:
        await asyncio.sleep(0)
        if len(self.noted) + 1 >= self.fails_from:
            raise EngineError("database_error", "the disk is full")
        self.noted.append((principal.id, verb, target, outcome))


def acting(role: Role, log: Log) -> Acting:
    engine: Any = "the engine"
    return Acting(engine=engine, principal=principal(role), audit=log, door="test", request_id="req-1")


class Work:
    """What is done, and how often it was."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.done, self.error = 0, error

    async def __call__(self, engine: Any) -> str:
        self.done += 1
        if self.error is not None:
            raise self.error
        return f"done with {engine}"


async def test_a_change_is_written_down_before_and_after_it_is_made() -> None:
    log, seen = Log(), []

    async def work(engine: Any) -> None:
        seen.append(list(log.noted))

    await acting("operator", log).perform("executions.start", "w", work)
    assert seen == [[("operator", "executions.start", "w", "begun")]]
    assert [entry[3] for entry in log.noted] == ["begun", "done"]


async def test_what_changes_nothing_is_not_written_down() -> None:
    log = Log()
    assert await acting("viewer", log).perform("executions.read", "e", Work()) == "done with the engine"
    assert log.noted == []


@pytest.mark.req("E7")
@pytest.mark.parametrize("verb", ["executions.move", "audit.read"])
async def test_what_the_role_does_not_allow_is_not_done_and_is_written_down(verb: Verb) -> None:
    log, work = Log(), Work()
    with pytest.raises(EngineError, match="takes the role"):
        await acting("viewer", log).perform(verb, "e", work)
    assert work.done == 0
    assert log.noted == [("viewer", verb, "e", "denied")]


async def test_a_change_that_cannot_be_written_down_is_not_made() -> None:
    work = Work()
    with pytest.raises(EngineError, match="the disk is full"):
        await acting("admin", Log(fails_from=1)).perform("executions.clean", "e", work)
    assert work.done == 0


async def test_a_change_whose_end_cannot_be_written_down_still_has_its_beginning_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = Log(fails_from=2)
    assert await acting("admin", log).perform("executions.clean", "e", Work()) == "done with the engine"
    assert [entry[3] for entry in log.noted] == ["begun"]
    assert "The end of executions.clean of req-1 is not in the audit log" in caplog.text


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EngineError("illegal_move", "canary-4711"), "illegal_move"),
        (EngineError("permission_denied", "canary-4711"), "denied"),
        (CogworkError("canary-4711"), "CogworkError"),
        (RuntimeError("canary-4711"), "failed"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
async def test_how_a_change_failed_is_written_down_as_a_code_without_its_words(
    error: BaseException, outcome: str
) -> None:
    log = Log()
    with pytest.raises(type(error)):
        await acting("operator", log).perform("executions.move", "e", Work(error))
    assert [entry[3] for entry in log.noted] == ["begun", outcome]
    assert "canary" not in repr(log.noted)


async def test_the_end_is_written_down_although_the_caller_has_gone() -> None:
    from anyio import CancelScope

    log = Log()
    with CancelScope() as scope:

        async def work(engine: Any) -> None:
            scope.cancel()
            await asyncio.sleep(60)

        await acting("operator", log).perform("executions.start", "w", work)
    assert scope.cancelled_caught
    assert [entry[3] for entry in log.noted] == ["begun", "cancelled"]


@pytest.mark.req("E7")
async def test_the_engine_is_used_as_far_as_the_role_goes_and_all_of_it_is_in_the_log_of_its_database(
    tmp_path: Path,
) -> None:
    from cogwork.identity.audit import Audit
    from cogwork.settings import Settings
    from cogwork.workflow_engine import WorkflowEngine

    spec = "cogwork: v1\nname: plain\nnodes: {a: {type: transform, set: {x: 1}}}\n"
    async with WorkflowEngine(settings=Settings(state_dir=tmp_path), worker=False) as engine:
        audit = Audit(engine.parts.records)

        def door(role: Role) -> Acting:
            return Acting(engine=engine, principal=principal(role), audit=audit, door="test", request_id=f"req-{role}")

        async def start(engine: WorkflowEngine) -> str:
            return (await engine.execute_workflow(spec, {})).id

        with pytest.raises(EngineError, match="start takes the role operator"):
            await door("viewer").perform("executions.start", "plain", start)
        id = await door("operator").perform("executions.start", "plain", start)
        with pytest.raises(EngineError, match="takes the role operator"):
            await door("viewer").perform("executions.move", id, lambda engine: engine.cancel_execution(id))
        status = await door("viewer").perform("executions.read", id, lambda engine: engine.get_execution_status(id))
        assert status["status"] == "pending"
        assert [(e.principal_name, e.target, e.outcome) for e in reversed((await audit.entries()).items)] == [
            ("viewer", "plain", "denied"), ("operator", "plain", "begun"), ("operator", "plain", "done"), ("viewer", id, "denied"),
        ]  # fmt: skip
        audit.close()


# -- certificates ------------------------------------------------------------------------------------------------

OPS = {
    "subject": ((("organizationName", "Example, Ltd"),), (("commonName", "ops"),)),
    "subjectAltName": (("DNS", "Ops.Example"), ("URI", "spiffe://example/ops")),
    "issuer": ((("commonName", "our ca"),),),
    "serialNumber": "0A1B",
    "notAfter": "Jan  2 00:00:00 2027 GMT",
}


@pytest.mark.parametrize(
    ("clients", "role"),
    [
        ({"CN=ops": "operator"}, "operator"),
        ({"cn=ops": "operator"}, "operator"),
        ({"DNS:ops.example": "author"}, "author"),
        ({"URI:spiffe://example/ops": "viewer"}, "viewer"),
        ({r"O=Example\, Ltd": "viewer", r"CN=ops,O=Example\, Ltd": "admin"}, "admin"),
        ({r"CN=ops,O=Example\, Ltd": "admin", "CN=ops": "viewer"}, "admin"),
        ({"CN=ops": "admin", "DNS:ops.example": "viewer"}, "viewer"),
    ],
)
def test_the_rule_that_asks_most_of_a_certificate_gives_its_role(clients: Any, role: str) -> None:
    found = principal_of(OPS, clients, NOW)
    assert (found.name, found.role, found.via) == ("ops", role, "certificate")
    assert found.expires_at == datetime(2027, 1, 2, tzinfo=UTC)
    assert found.metadata == {"serial": "0A1B", "issuer": "commonName=our ca"}
    assert found.id == principal_of(OPS, {"CN=ops": "viewer"}, NOW).id
    assert found.id != principal_of({**OPS, "serialNumber": "0A1C"}, clients, NOW).id


@pytest.mark.parametrize(
    ("certificate", "clients", "reason"),
    [
        ({}, {"CN=ops": "operator"}, "no_certificate"),
        (OPS, {}, "no_rule"),
        (OPS, {"CN=op": "operator"}, "no_rule"),
        (OPS, {"CN=OPS": "operator"}, "no_rule"),
        (OPS, {"CN=ops,O=Example": "operator"}, "no_rule"),
        (OPS, {"DNS:example": "operator"}, "no_rule"),
        (OPS, {"CN=ops.example": "operator"}, "no_rule"),
        ({**OPS, "notAfter": "Jan  1 00:00:00 2027 GMT"}, {"CN=ops": "operator"}, "expired"),
    ],
)
def test_a_certificate_that_no_rule_is_about_is_nobody_s(certificate: Any, clients: Any, reason: str) -> None:
    with pytest.raises(Unauthenticated, match="The client certificate is not valid") as caught:
        principal_of(certificate, clients, NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text", ["", "ops", "CN=", "CN=*", "DNS:*.example", "X=1", "CN=a,", ",CN=a", "CN=a,,O=b", "DNS:"]
)
def test_a_rule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rule for certificates"):
        Rule.read(text)


def test_the_rules_of_settings_are_checked_with_their_roles() -> None:
    assert checked({"CN=ops": "operator"}) == {"CN=ops": "operator"}
    with pytest.raises(ValueError, match="is no role"):
        checked({"CN=ops": "root"})


@given(st.dictionaries(st.sampled_from(["CN", "O", "OU", "DNS", "URI"]), st.text(min_size=1), min_size=1))
def test_a_rule_means_what_was_escaped_into_it(facts: dict[str, str]) -> None:
    facts = {
        name: plain for name, value in facts.items() if (plain := value.strip().replace("*", "")).strip() == plain != ""
    }
    if not facts:
        return

    def written(name: str, value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace(",", "\\,")
        return f"{name}:{escaped}" if name in ("DNS", "URI") else f"{name}={escaped}"

    wanted = {(name, value.lower() if name == "DNS" else value) for name, value in facts.items()}
    assert Rule.read(",".join(written(*each) for each in facts.items())).facts == wanted


@pytest.fixture
def issued(tmp_path: Path) -> Callable[[str, str], tuple[Path, Path]]:
    """Makes certificates: with a subject, signed by the authority ``ca`` or another one."""
    if subprocess.run(["which", "openssl"], capture_output=True).returncode:
        pytest.skip("openssl is not installed")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    def make(name: str, subject: str, signer: str = "ca") -> tuple[Path, Path]:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")
        by = ("-CA", f"{signer}.pem", "-CAkey", f"{signer}.key") if name != signer else ()
        extension = ("-addext", f"subjectAltName=DNS:{name}.example") if by else ()
        openssl("req", "-x509", *key, "-out", f"{name}.pem", "-subj", subject, "-days", "2", *by, *extension)
        return tmp_path / f"{name}.pem", tmp_path / f"{name}.key"

    make("ca", "/CN=our ca")
    return make


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> Any:
    """What the server learns of a client's certificate, over a connection in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = server.wrap_bio(to_server, to_client, server_side=True)
    far = client.wrap_bio(to_client, to_server, server_hostname="host.example")
    for _ in range(4):
        for side in (far, near):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return near.getpeercert()


def test_a_real_client_certificate_is_its_principal_and_one_of_another_authority_fails_the_handshake(
    issued: Any, tmp_path: Path
) -> None:
    host, ops = issued("host", "/CN=host.example"), issued("ops", "/O=Example/CN=ops")
    issued("evil", "/CN=evil ca", "evil")
    forged = issued("forged", "/O=Example/CN=ops", "evil")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*host)
    server.load_verify_locations(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED

    def client(pair: Any) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        made.load_cert_chain(*pair)
        return made

    found = principal_of(handshake(server, client(ops)), {"CN=ops,O=Example,DNS:ops.example": "operator"})
    assert (found.name, found.role) == ("ops", "operator") and found.expires_at is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client(forged))
