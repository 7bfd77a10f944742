"""The language as a JSON Schema, for editors: accepts what ``load`` accepts of the canonical form, shorthands included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from graphs.language.dialects.canonical import PROPERTY_TYPES, SCHEMA_FIELDS
from graphs.language.spec import BLOCKS, NODE_TYPES, RESERVED, WorkflowSpec
from graphs.language.triggers import TRIGGERS
from nodes.base import Step
from state.services import Tool, Tools
from state.values import Json, Schema

SCHEMA_ID: Final = "https://cogwork.dev/schema/v1.json"
_KINDS: Final[Mapping[str, str]] = dict(
    zip(NODE_TYPES, ("LlmNode", "ToolNode", "ConditionNode", "TransformNode", "HumanNode"), strict=True)
)
_LOOPS: Final[Mapping[str, str]] = {"for_each": "ForEach", "repeat": "Repeat"}
_PROPERTIES: Final[Schema] = {
    "description": "A map of properties; a full schema has both `type: object` and `properties`.",
    "type": "object",
    "if": {
        "properties": {"type": {"const": "object"}, "properties": {"type": "object"}},
        "required": ["type", "properties"],
    },
    "else": {
        "additionalProperties": {"anyOf": [{"enum": list(PROPERTY_TYPES)}, {"type": "object"}, {"type": "boolean"}]}
    },
}
_ISLAND: Final[Schema] = {"type": "string", "pattern": r"\{\{|\$\{"}
_SCALAR: Final = ["string", "number", "boolean"]
"""What may stand unquoted where text is declared: it keeps its source text."""


def language_schema(tools: Tools | None = None) -> Schema:
    """The JSON Schema (2020-12) of workflow documents; with ``tools``, of their arguments as well."""
    schema: Schema = _relaxed(WorkflowSpec.model_json_schema(by_alias=True))
    definitions: dict[str, Schema] = schema.pop("$defs")
    _admit_shorthands(schema, definitions)
    definitions.update(_single_node_loops(definitions))
    definitions["Step"] = _step()
    definitions["Trigger"] = _trigger(definitions)
    if tools is not None:
        _add_tools(definitions, tools)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "A cogwork workflow",
        **schema,
        "$defs": definitions,
    }


def _relaxed(schema: Json, *, alone: bool = True) -> Any:
    """Without generated titles, with steps by reference, and with unquoted scalars where nothing but text is declared."""
    if isinstance(schema, list):
        return [_relaxed(inner) for inner in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "oneOf" in schema:
        triggers = {"$ref": "#/$defs/ScheduleTrigger"} in schema["oneOf"]
        return {"$ref": "#/$defs/Trigger" if triggers else "#/$defs/Step"}
    found = {key: inner for key, inner in schema.items() if key != "title" or not isinstance(inner, str)}
    if alone and found.get("type") == "string" and not {"enum", "const", "pattern"} & set(found):
        found["type"] = _SCALAR
    options = found.pop("anyOf", None)
    plain = {key: _relaxed(inner) for key, inner in found.items()}
    if options is not None:
        several = len([option for option in options if option != {"type": "null"}]) > 1
        plain["anyOf"] = [_relaxed(option, alone=not several) for option in options]
    return plain


def _admit_shorthands(workflow: Schema, definitions: Mapping[str, Schema]) -> None:
    for definition in (workflow, *definitions.values()):
        fields = definition["properties"]
        if "$ref" in fields.get("nodes", {}).get("additionalProperties", {}):
            fields["nodes"]["propertyNames"] = {
                "pattern": r"^[^.\[\]/:|\s]+$",
                "not": {"enum": sorted(RESERVED | BLOCKS)},
            }
        if "depends_on" in fields:
            described = fields["depends_on"].pop("description")
            fields["depends_on"] = {"description": described, "anyOf": [{"type": "string"}, fields["depends_on"]]}
    for model, key in SCHEMA_FIELDS.items():
        fields = (workflow if model is WorkflowSpec else definitions[model.__name__])["properties"]
        optional = {"type": "null"} in fields[key].get("anyOf", ())
        fields[key] = {"anyOf": [_PROPERTIES, {"type": "null"}]} if optional else _PROPERTIES
    for name in _KINDS.values():
        definitions[name]["required"] = ["type", *definitions[name].get("required", ())]


def _single_node_loops(definitions: Mapping[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """The loops into which one node is written: the fields of both."""
    for loop in _LOOPS.values():
        for body in (*_KINDS.values(), "Use"):
            outer, inner = definitions[loop], definitions[body]
            fields = {**outer["properties"], **inner["properties"]}
            fields |= {key: outer["properties"][key] for key in Step.model_fields}
            del fields["nodes"]
            needed = [key for key in outer["required"] if key != "nodes"]
            yield loop + body, {**outer, "properties": fields, "required": [*needed, *inner["required"]]}


def _step() -> Schema:
    """Any step, chosen by its telling key, so that an editor speaks of the fields that are meant."""
    return {
        "description": "A node with its `type`, a loop, or a used workflow.",
        "type": "object",
        **_chosen(
            [
                ("for_each", _loop("ForEach")),
                ("repeat", _loop("Repeat")),
                ("use", {"$ref": "#/$defs/Use"}),
            ],
            _by_type(""),
        ),
    }


def _trigger(definitions: Mapping[str, Schema]) -> Schema:
    """Any trigger, chosen by its type."""
    named = {kind: chosen.__name__ for kind, chosen in TRIGGERS.items()}
    for name in named.values():
        definitions[name]["required"] = ["type", *definitions[name].get("required", ())]
    return {
        "description": "What starts the workflow.",
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": list(named)}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for kind, name in named.items()
        ],
    }


def _chosen(options: list[tuple[str, Schema]], otherwise: Schema) -> Schema:
    chain = otherwise
    for key, schema in reversed(options):
        chain = {"if": {"required": [key]}, "then": schema, "else": chain}
    return chain


def _loop(name: str) -> Schema:
    whole: Schema = {"$ref": f"#/$defs/{name}"}
    return _chosen([("nodes", whole), ("use", {"$ref": f"#/$defs/{name}Use"}), ("type", _by_type(name))], whole)


def _by_type(prefix: str) -> Schema:
    return {
        "required": ["type"],
        "properties": {"type": {"enum": list(NODE_TYPES)}},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{prefix}{definition}"},
            }
            for kind, definition in _KINDS.items()
        ],
    }


def _add_tools(definitions: dict[str, Schema], tools: Tools) -> None:
    """Name the tools, and let what stands beside a tool's name be judged by its arguments' schema."""
    known = [tool for name in tools.names() if (tool := tools.find(name)) is not None]
    rules: list[Schema] = []
    for tool in known:
        key = f"tool:{tool.name}"
        definitions[key] = {"$id": f"urn:cogwork:{key}", **_with_islands(tool.args_schema)}
        rules.append(_rule(tool))
    for name, definition in definitions.items():
        if name.endswith("ToolNode") or name == "Undo":
            described = definition["properties"]["tool"].get("description", "The tool's name.")
            definition["properties"]["tool"] = {"description": described, "enum": [tool.name for tool in known]}
            definition["allOf"] = rules


def _rule(tool: Tool) -> Schema:
    takes = {"properties": {"args": {"$ref": f"urn:cogwork:tool:{tool.name}", "description": tool.description}}}
    needed = {"required": ["args"]} if tool.args_schema.get("required") else {}
    return {"if": {"properties": {"tool": {"const": tool.name}}, "required": ["tool"]}, "then": {**takes, **needed}}


def _with_islands(schema: Json, *, top: bool = True) -> Any:
    """The schema with an expression allowed in every place; what it yields is known only at run time."""
    if not isinstance(schema, Mapping):
        return schema
    plain = dict(schema)
    for word in ("properties", "$defs", "patternProperties"):
        if isinstance(plain.get(word), Mapping):
            plain[word] = {name: _with_islands(inner, top=False) for name, inner in plain[word].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(plain.get(word), Mapping):
            plain[word] = _with_islands(plain[word], top=False)
    return plain if top else {"anyOf": [_ISLAND, plain]}
