"""The files of ``deploy/`` are held to what reads them: linters, published schemas, a parser of PromQL, and our own names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import kubernetes_validate
import promql_parser
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from cogwork.engine.worker import DRAIN_SECONDS
from cogwork.errors import EngineError
from cogwork.observability.catalogue import METRICS, NAMES
from cogwork.observability.measured import BROKEN
from cogwork.server.running import checked
from cogwork.settings import Settings

pytestmark = pytest.mark.req("M8", "M10")
HOUSE = Path(__file__).parent.parent
DEPLOY = HOUSE / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
PEERS = HOUSE / "tests" / "peers" / "node_modules"
KUBERNETES = ("1.30", "1.37")
"""The oldest and the newest release that the manifests are held to."""
OF_OTHERS = ("up", "process_resident_memory_bytes", "process_cpu_seconds_total")
CUSTOM = {
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "PodMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1",
}


def documents(*paths: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every manifest of the files."""
    for path in paths:
        for each in yaml.safe_load_all(path.read_text()):
            if "kind" in each:
                yield path, each


INSTALLED = shutil.which("node") is not None and (PEERS / "@kubernetes-models").exists()
needs_node = pytest.mark.skipif(
    not INSTALLED and not os.environ.get("CI"), reason="node and its packages: npm ci --prefix tests/peers"
)


OBJECTS = list(documents(*MANIFESTS))


def workloads() -> Iterator[dict[str, Any]]:
    """The deployments."""
    yield from (each for _, each in OBJECTS if each["kind"] == "Deployment")


# -- the image -----------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, with what follows them."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def test_a_linter_finds_no_fault_in_the_containerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    said = subprocess.run([hadolint, "--no-color", DEPLOY / "Containerfile"], capture_output=True, text=True)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_the_image_runs_as_nobody_in_particular_without_what_installs_and_says_how_it_is() -> None:
    found = instructions()
    stages = [number for number, (word, _) in enumerate(found) if word == "FROM"]
    last = found[stages[-1] :]
    assert len(stages) == 2
    assert [rest for word, rest in last if word == "USER"] == ["10001:10001"]
    assert not any("pip install" in rest or "apt-get" in rest for _, rest in last)
    words = [word for word, _ in last]
    assert {"HEALTHCHECK", "ENTRYPOINT", "CMD", "EXPOSE", "STOPSIGNAL"} <= set(words)
    assert json.loads(dict(last)["CMD"]) == ["serve", "--host", "0.0.0.0", "--port", "4020"]


def test_all_that_the_image_is_made_of_is_there_and_let_through() -> None:
    allowed = {
        line[1:] for line in (DEPLOY / "Containerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    for rest in (rest for word, rest in instructions() if word == "COPY" and "--from" not in rest):
        *sources, _ = [part for part in rest.split() if not part.startswith("--")]
        for source in sources:
            assert (HOUSE / source).exists() and source in allowed, source
    packages = re.search(r"^packages = \[(.*)\]", (HOUSE / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages is not None and set(re.findall(r'"(\w+)"', packages[1])) <= allowed


def entered(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What the entry of the image does, with a command in the place of cogwork that tells its arguments and variables."""
    fake = folder / "cogwork"
    fake.write_text('#!/bin/sh\necho "$@"\nenv\n')
    fake.chmod(0o755)
    path = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(
        [DEPLOY / "entrypoint.sh", *arguments], env={**path, **variables}, capture_output=True, text=True
    )


def test_the_entry_reads_secrets_from_files_and_passes_arguments_on(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p w'd$x@h/d\n")
    said = entered(
        tmp_path, "worker", "--label", "a=b", COGWORK_DATABASE_URL_FILE=str(secret), SSL_CERT_FILE="/etc/ca.pem"
    )
    lines = said.stdout.splitlines()
    assert said.returncode == 0 and lines[0] == "worker --label a=b"
    assert "COGWORK_DATABASE_URL=postgresql://u:p w'd$x@h/d" in lines and "SSL_CERT_FILE=/etc/ca.pem" in lines
    assert not any(line.startswith("COGWORK_DATABASE_URL_FILE") for line in lines)


def test_the_entry_refuses_a_secret_that_it_cannot_read(tmp_path: Path) -> None:
    said = entered(tmp_path, "worker", COGWORK_DATABASE_URL_FILE=str(tmp_path / "none"))
    assert said.returncode == 64 and "COGWORK_DATABASE_URL_FILE names" in said.stderr and said.stdout == ""


# -- names of settings ---------------------------------------------------------------------------------------------


def is_setting(variable: str) -> bool:
    """Whether a variable is one of cogwork's settings."""
    model: Any = Settings
    for part in variable.removeprefix("COGWORK_").lower().split("__"):
        fields = getattr(model, "model_fields", None)
        if fields is None or part not in fields:
            return False
        kinds = [
            kind for kind in (fields[part].annotation, *get_args(fields[part].annotation)) if isinstance(kind, type)
        ]
        model = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
    return True


def variables() -> Iterator[tuple[str, str]]:
    """Every variable of cogwork's that a file of the folder sets."""
    for path in (DEPLOY / "Containerfile", DEPLOY / "compose.yaml", *MANIFESTS):
        text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
        yield from ((path.name, name) for name in re.findall(r"\bCOGWORK_[A-Z0-9_]+\b", text))


def _named(hosts: str) -> Settings:
    plain = re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", hosts.strip("'"))
    return Settings(_env_file=None, server={"host": "0.0.0.0", "allowed_hosts": json.loads(plain)})  # type: ignore[call-arg]


def test_the_server_starts_under_the_names_of_every_file_and_not_without() -> None:
    config = yaml.safe_load((DEPLOY / "kubernetes" / "configmap.yaml").read_text())["data"]
    image = re.search(r"COGWORK_SERVER__ALLOWED_HOSTS=('.*')", (DEPLOY / "Containerfile").read_text())
    assert image is not None
    name = "COGWORK_SERVER__ALLOWED_HOSTS"
    for hosts in (compose()["services"]["server"]["environment"][name], config[name], image[1]):
        checked(_named(hosts))
    with pytest.raises(EngineError, match=r"allowed_hosts"):
        checked(_named("[]"))


def test_every_variable_that_is_set_is_a_setting() -> None:
    named = set(variables())
    assert len(named) > 8
    assert [each for each in named if not is_setting(each[1].removesuffix("_FILE"))] == []
    assert not is_setting("COGWORK_ENGINE__CONCURENCY") and not is_setting("COGWORK_NOTHING")


# -- compose -------------------------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_the_compose_file_fits_the_published_schema() -> None:
    shipped = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(shipped.read_text())
    faults = sorted(error.message for error in Draft202012Validator(schema).iter_errors(compose()))
    assert faults == []
    broken = {**compose(), "services": {"server": {"imagee": "x"}}}
    assert list(Draft202012Validator(schema).iter_errors(broken)) != []


def test_services_have_health_checks_secrets_by_file_and_time_to_end() -> None:
    whole = compose()
    services = whole["services"]
    assert set(services) == {"server", "worker", "database"}
    assert services["worker"]["deploy"]["replicas"] > 1
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= set(whole["secrets"])
        told = json.dumps(service.get("environment", {})).lower()
        assert "postgresql://" not in told and not re.search(r'password":', told), name
        if name != "database":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
            assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS + 5, name
            assert service["depends_on"]["database"]["condition"] == "service_healthy"
    assert {"healthcheck"} <= services["worker"].keys() & services["database"].keys()
    assert all(port.startswith("127.0.0.1:") for each in services.values() for port in each.get("ports", ()))
    named = {volume.partition(":")[0] for each in services.values() for volume in each.get("volumes", ())}
    assert {name for name in named if "/" not in name} == set(whole["volumes"])


# -- kubernetes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", KUBERNETES)
def test_every_manifest_fits_the_schemas_of_kubernetes(release: str) -> None:
    held = [each for _, each in OBJECTS if each["kind"] not in (*CUSTOM, "Kustomization")]
    assert len(held) > 10
    for each in held:
        kubernetes_validate.validate(each, release, strict=True)
    wrong = json.loads(json.dumps(next(workloads())))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, release, strict=True)


@needs_node
def test_every_manifest_of_an_operator_fits_its_published_schema(tmp_path: Path) -> None:
    held = [
        {"of": CUSTOM[each["kind"]], "kind": each["kind"], "data": each}
        for _, each in OBJECTS
        if each["kind"] in CUSTOM
    ]
    assert {each["kind"] for each in held} == set(CUSTOM)
    wrong = json.loads(json.dumps(held[-1]))
    wrong["data"]["spec"] = {"nothing": True}
    code = """
        import { readFileSync } from "fs";
        const told = [];
        for (const { of, kind, data } of JSON.parse(readFileSync(0, "utf8"))) {
            const found = (await import(of))[kind];
            try { new found(data).validate(); told.push(""); } catch (error) { told.push(String(error.message)); }
        }
        console.log(JSON.stringify(told));
    """
    said = subprocess.run(
        ["node", "--input-type=module", "-e", code],
        input=json.dumps([*held, wrong]),
        capture_output=True,
        text=True,
        cwd=PEERS.parent,
        check=True,
    )
    *faults, fault = json.loads(said.stdout)
    assert faults == [""] * len(held) and fault != ""


def test_kustomizations_name_files_that_are_there_and_every_file_is_named_or_said_to_be_left_out() -> None:
    named = {"secret.example.yaml", "adapter.yaml", "kustomization.yaml"}
    for path in MANIFESTS:
        if path.name != "kustomization.yaml":
            continue
        for resource in yaml.safe_load(path.read_text())["resources"]:
            assert (path.parent / resource).exists(), resource
            named.add(resource)
    assert {path.name for path in MANIFESTS} <= named


def test_selectors_ports_and_secrets_belong_together() -> None:
    labels = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in workloads()}
    for _, each in OBJECTS:
        spec, name = each.get("spec", {}), each["metadata"].get("name") if "metadata" in each else None
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= have.items() for have in labels.values()), (each["kind"], name)
        if (target := spec.get("scaleTargetRef")) is not None:
            assert target["name"] in labels
    for each in workloads():
        (container,) = each["spec"]["template"]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        probes = [container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert {probe["port"] for probe in probes} <= ports
        assert {probe["path"] for probe in probes} <= {"/health/live", "/health/ready"}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in each["spec"]["template"]["spec"]["volumes"]}


def test_pods_are_restricted_and_have_the_time_that_draining_takes() -> None:
    for each in workloads():
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        secured = container["securityContext"]
        assert secured["readOnlyRootFilesystem"] and not secured["allowPrivilegeEscalation"]
        assert secured["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        waits = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])[1]
        assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS + float(waits) + 5


def test_workers_scale_on_metrics_that_there_are() -> None:
    (scaler,) = [each for _, each in OBJECTS if each["kind"] == "HorizontalPodAutoscaler"]
    (scaled,) = [each for _, each in OBJECTS if each["kind"] == "ScaledObject"]
    external = [metric["external"]["metric"]["name"] for metric in scaler["spec"]["metrics"]]
    rules = yaml.safe_load((DEPLOY / "kubernetes" / "monitoring" / "adapter.yaml").read_text())["rules"]["external"]
    assert external == [rule["name"]["matches"] for rule in rules]
    assert set(external) <= NAMES
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    assert {name for query in queries for name in metrics_of(query)} == set(external)


# -- rules and the dashboard ---------------------------------------------------------------------------------------


def metrics_of(expression: str) -> set[str]:
    """The names of all metrics that an expression asks for; labels are held to those that the metric has.

    Raises:
        ValueError: it is no PromQL.
    """
    known = {name: metric for metric in METRICS for name in metric.names}
    found: set[str] = set()
    for name, labels in re.findall(r"\b([a-z_]+:?[a-z_]+)\s*\{([^}]*)\}", expression):
        extra = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))
        if name in known:
            assert extra <= {*known[name].labels, "le", "instance", "job", "namespace"}, (name, extra)
    for selector in selectors(promql_parser.parse(expression)):
        found.add(str(selector.name))
    return found


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        if (child := getattr(node, name, None)) is not None and not isinstance(child, str | int | float):
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


RULES = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]


def test_every_alert_is_promql_over_metrics_that_there_are_and_says_what_to_do() -> None:
    alerts = [rule for group in RULES for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) > 8
    for rule in alerts:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert metrics_of(rule["expr"]) and metrics_of(rule["expr"]) <= NAMES, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}
        if "for" in rule:
            promql_parser.parse_duration(rule["for"])
    told = (HOUSE / "docs" / "deployment.md").read_text()
    assert [rule["alert"] for rule in alerts if f"`{rule['alert']}`" not in told] == []


def test_what_is_no_promql_or_no_metric_is_found_out() -> None:
    with pytest.raises(ValueError):
        metrics_of("sum(")
    assert metrics_of("rate(cogwork_nothing_total[5m]) / on (a) other") == {"cogwork_nothing_total", "other"}
    assert BROKEN in (DEPLOY / "alerts.yaml").read_text()


def test_every_panel_asks_for_metrics_that_there_are_and_all_metrics_are_shown() -> None:
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    shown: set[str] = set()
    for panel in panels:
        for target in panel["targets"]:
            plain = target["expr"].replace("$__rate_interval", "5m").replace("$workflow", ".*")
            asked = metrics_of(plain)
            assert asked and asked <= NAMES | set(OF_OTHERS), panel["title"]
            shown |= asked
    assert [metric.name for metric in METRICS if not shown & set(metric.names)] == []
    assert overlapping(board["panels"]) == []


def overlapping(panels: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The pairs of panels that lie over each other, or beyond the 24 columns."""
    taken: dict[tuple[int, int], str] = {}
    found = []
    for panel in panels:
        at = panel["gridPos"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cell in taken or cell[0] >= 24:
                found.append((panel["title"], taken.get(cell, "the edge")))
                break
            taken[cell] = panel["title"]
    return found
