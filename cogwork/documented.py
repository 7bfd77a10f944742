"""The keys of other engines' configurations: which setting each is here, or what to use in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cogwork.configuration import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Becomes:
    """A key that is a setting here: the setting's path, and what its value becomes."""

    setting: str
    change: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True, slots=True, kw_only=True)
class Instead:
    """A key that is none: what to use."""

    use: str


def _milliseconds(value: Any) -> Any:
    return value / 1000 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _days(value: Any) -> Any:
    return value * 86400 if isinstance(value, int | float) and not isinstance(value, bool) else value


_DATABASE: Final = "set database_url to a PostgreSQL database, or nothing for a SQLite file"
_NODE: Final = "say it where it holds: in the workflow, or in the options of an execution"
KEYS: Final[Mapping[str, Becomes | Instead]] = {
    "connection_pool_size": Becomes(setting="connection_pool_size"),
    "compression_threshold": Becomes(setting="compression_above"),
    "mongo_uri": Instead(use=f"executions, sessions and messages are records in SQL: {_DATABASE}"),
    "redis_uri": Instead(use=f"the queue and the state of executions are in the same database: {_DATABASE}"),
    "REDIS_URL": Instead(use=f"the queue and the state of executions are in the same database: {_DATABASE}"),
    "neo4j_uri": Instead(use=f"who uses what is a table of the records: {_DATABASE}"),
    "neo4j_user": Instead(use="the user stands in database_url"),
    "neo4j_password": Instead(use="the password stands in database_url, as ${VARIABLE}"),
    "pinecone_api_key": Instead(
        use="memory is searched by the embeddings of the setting embeddings; it needs no service"
    ),
    "pinecone_environment": Instead(use="COGWORK_ENV names the environment, and cogwork.<env>.toml holds its settings"),
    "cache_ttl": Instead(
        use="versions never change and are cached without a time; results are reused by cache: of a step"
    ),
    "batch_size": Instead(use="what waits is written together, in batches as large as the load makes them"),
    "retry_count": Instead(use=f"retry: {{max_attempts: 4}} is three retries; {_NODE}"),
    "log_level": Instead(use='logging.getLogger("cogwork").setLevel("INFO") in the program, as for every library'),
    "maxConcurrentWorkflows": Becomes(setting="engine.concurrency"),
    "defaultWorkflowTimeout": Instead(use=f"limits: {{timeout: 10m}}; {_NODE}"),
    "enableWorkflowCheckpoints": Instead(
        use="every execution has checkpoints; retention.checkpoints says for how long"
    ),
    "defaultLLMModel": Becomes(setting="model"),
    "llmTimeout": Instead(use=f"timeout: 60s of an llm step, or timeout_s of the endpoint in providers; {_NODE}"),
    "enableLLMCaching": Instead(use=f"cache: 1h of an llm step; {_NODE}"),
    "maxLLMRetries": Instead(use=f"retry: {{max_attempts: 4}} of an llm step; {_NODE}"),
    "toolContainerEndpoint": Instead(use="mcp_servers = {name = {url = …}} for MCP, openapi for HTTP services"),
    "toolContainerTimeout": Instead(use="read_timeout of the server in mcp_servers, or timeout of the tool step"),
    "enableToolContainerCaching": Instead(use=f"cache: 1h of a tool step; {_NODE}"),
    "maxToolContainerRetries": Instead(use=f"retry: {{max_attempts: 4}} of a tool step; {_NODE}"),
    "sessionTimeout": Becomes(setting="session_ttl", change=_milliseconds),
    "conversationHistoryLimit": Becomes(setting="history.messages"),
    "enableStatePersistence": Instead(use="state is always kept; state_dir or database_url says where"),
    "enableParallelExecution": Instead(use="what need not wait for each other runs at once; depends_on orders steps"),
    "maxParallelSteps": Instead(use="max_parallel of a loop, max_concurrency of an endpoint in providers"),
    "resourceMonitoringEnabled": Instead(use="usage is always recorded; cogwork stats shows it"),
    "enableDetailedErrorLogging": Instead(use="errors are recorded with their steps; cogwork why shows them"),
    "errorRetentionDays": Becomes(setting="retention.failed", change=_days),
    "circuitBreakerThreshold": Instead(use="breaker_threshold of the endpoint in providers"),
    "fallbackModels": Instead(use="modes = {coding = {model = …, fallback = […]}}, or fallback of an llm step"),
    "batchSize": Instead(use="max_concurrency of the endpoint in providers bounds calls at once"),
    "cacheSize": Instead(use=f"cache: 1h of an llm step; {_NODE}"),
    "preloadModels": Instead(use="models are warmed by cogwork models --warm"),
    "temperature": Instead(use="modes = {coding = {temperature = 0.2}}, or temperature of an llm step"),
    "maxTokens": Instead(use="modes = {coding = {max_tokens = 2000}}, or max_tokens of an llm step"),
    "topP": Instead(use="modes = {coding = {top_p = 0.9}}"),
    "frequencyPenalty": Instead(use="modes = {coding = {frequency_penalty = 0.1}}"),
    "GOOGLE_CLOUD_PROJECT": Instead(use="no cloud is needed; state_dir or database_url says where state is kept"),
    "WORKFLOW_EXECUTOR_URL": Instead(
        use="workers find their work in database_url; servers of tools stand in mcp_servers"
    ),
    "WORKFLOW_EXECUTOR_TOKEN": Instead(
        use="secrets = {name = {env = …}} and secret://name in the headers of mcp_servers"
    ),
    "mcp_url": Instead(use="mcp_servers = {name = {url = …}}"),
    "memory": Instead(use=f"memory is in the records: {_DATABASE}"),
}
"""By key. The keys are those of the engines that people come from: configurations, environment variables and overrides."""


def translated(config: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a configuration means, whose keys may be theirs or ours (``known``); unknown ones are left as they are.

    Raises:
        ConfigurationError: keys that are none here, each with what to use instead.
    """
    settings: dict[str, Any] = {}
    refused: list[str] = []
    for key, value in config.items():
        meant = None if key in known and not isinstance(KEYS.get(key), Instead) else KEYS.get(key)
        if isinstance(meant, Instead):
            refused.append(f"{key}: {meant.use}")
        elif isinstance(meant, Becomes):
            _put(settings, meant.setting.split("."), meant.change(value))
        else:
            _put(settings, [key], value)
    if refused:
        raise ConfigurationError(f"These keys mean nothing here: {'; '.join(refused)}")
    return settings


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    *outer, last = path
    for part in outer:
        settings = settings.setdefault(part, {})
    held = settings.get(last)
    settings[last] = {**held, **value} if isinstance(held, dict) and isinstance(value, Mapping) else value
