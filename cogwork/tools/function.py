"""Python functions as tools: their schemas come from the signature, their words from the docstring."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from state.errors import Fault
from state.services import CallContext, Effect
from state.values import Json, Schema

_UNKNOWN = (None, type(None), Any, inspect.Signature.empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A tool made from a function; a function that is not async runs in a thread of its own."""

    name: str
    description: str
    args_schema: Schema
    output_schema: Schema
    effect: Effect
    idempotent: bool
    function: Callable[..., Any]
    arguments: type[BaseModel] = field(repr=False)
    context_parameter: str | None = None
    needs_approval: bool = False
    """Whether ``check`` refuses a workflow in which nobody is asked before this tool is called."""
    effect_declared: bool = False
    """Whether the effect was given, rather than taken for ``write`` because nothing was said."""

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect | None = None,
        idempotent: bool | None = None,
        needs_approval: bool = False,
    ) -> FunctionTool:
        """A tool from a function or a partial of one.

        A parameter annotated ``CallContext`` is given the call's context and is no argument. A tool without effect, or
        which reads only, counts as idempotent unless told otherwise; one that writes, or does not say, does not.

        Raises:
            TypeError: the signature has no JSON Schema: ``*args``, ``**kwargs``, positional-only or unresolvable types.
        """
        origin = function.func if isinstance(function, functools.partial) else function
        name = name or origin.__name__
        try:
            hints = typing.get_type_hints(origin, include_extras=True)
            arguments, context = _arguments(function, hints, _words(origin))
            output = _output_schema(hints.get("return"))
            args_schema = _plain_schema(arguments.model_json_schema(schema_generator=_Untitled))
        except (NameError, TypeError, PydanticSchemaGenerationError, PydanticUserError) as error:
            raise TypeError(f"{name} cannot be a tool: {error}") from error
        return cls(
            name=name,
            description=description or _summary(origin),
            args_schema=args_schema | {"required": args_schema.get("required", [])},
            output_schema=output,
            effect=effect or "write",
            effect_declared=effect is not None,
            idempotent=effect not in (None, "write") if idempotent is None else idempotent,
            function=function,
            arguments=arguments,
            context_parameter=context,
            needs_approval=needs_approval,
        )

    @property
    def place(self) -> str:
        """Where the function stands, ``file:line``; empty where that is not known."""
        code = getattr(inspect.unwrap(_innermost(self.function)), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""

    async def call(self, args: Mapping[str, Json], context: CallContext) -> Any:
        """What the function returns for these arguments.

        Raises:
            Fault: ``invalid_input`` when an argument is refused by its annotation.
        """
        given = self._given(args)
        if self.context_parameter is not None:
            given[self.context_parameter] = context
        if inspect.iscoroutinefunction(_innermost(self.function)):
            return await self.function(**given)
        result = await asyncio.to_thread(self.function, **given)
        return await result if inspect.isawaitable(result) else result

    def _given(self, args: Mapping[str, Json]) -> dict[str, Any]:
        try:
            checked = self.arguments.model_validate(dict(args))
        except ValidationError as error:
            places = [f"/{'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
            message = f"The arguments of {self.name} do not fit: {'; '.join(places)}"
            raise Fault("invalid_input", message[:2_000], origin="tool", details={"faults": places}) from error
        fields = type(checked).model_fields
        return {info.alias or name: getattr(checked, name) for name, info in fields.items()}


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | None = None,
    idempotent: bool | None = None,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect | None = None,
    idempotent: bool | None = None,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """A decorator, with or without options, that makes a function a tool; see ``FunctionTool.from_function``."""

    def made(function: Callable[..., Any]) -> FunctionTool:
        return FunctionTool.from_function(
            function, name=name, description=description, effect=effect, idempotent=idempotent
        )

    return made if function is None else made(function)


class _Untitled(GenerateJsonSchema):
    """Schemas without the titles that pydantic makes up from names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _arguments(
    function: Callable[..., Any], hints: dict[str, Any], words: dict[str, str]
) -> tuple[type[BaseModel], str | None]:
    """The model of a function's arguments, and the name of the parameter that wants the call's context.

    The model's fields are numbered and aliased, so that no parameter's name can clash with pydantic's own.
    """
    context: str | None = None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"its parameter {parameter.name} cannot be given by name")
        annotation = hints.get(parameter.name, Any)
        if annotation is CallContext:
            context = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        description = words.get(parameter.name) or _told(annotation)
        more: dict[str, Any] = {"description": description} if description else {}
        fields[f"p{len(fields)}"] = (annotation, Field(default, alias=parameter.name, **more))
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
    return create_model("Arguments", __config__=config, **fields), context


def _told(annotation: Any) -> str | None:
    """The text in ``Annotated[..., "text"]``; pydantic reads its own ``Field`` itself."""
    if typing.get_origin(annotation) is not Annotated:
        return None
    extras = typing.get_args(annotation)[1:]
    if any(isinstance(extra, FieldInfo) and extra.description for extra in extras):
        return None
    return next((extra for extra in extras if isinstance(extra, str)), None)


def _output_schema(annotation: Any) -> Schema:
    if annotation in _UNKNOWN:
        return {}
    schema = TypeAdapter(annotation).json_schema(mode="serialization", schema_generator=_Untitled)
    return _plain_schema(schema)


def _plain_schema(schema: Schema) -> Schema:
    """Without the titles of models, which say nothing to those who call."""
    schema.pop("title", None)
    for inner in schema.get("$defs", {}).values():
        inner.pop("title", None)
    return schema


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, functools.partial) else function


def _summary(function: Callable[..., Any]) -> str:
    """The docstring's paragraphs before its first section."""
    text = inspect.getdoc(function) or ""
    return re.split(r"^\w+:\s*$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _words(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's ``Args:`` section says of each parameter."""
    found = re.search(r"^Args:\s*\n((?:[ \t]+.*\n?|\n)+)", inspect.getdoc(function) or "", flags=re.MULTILINE)
    if found is None:
        return {}
    said = re.findall(r"^ {2,4}(\w+)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)", found[1], flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in said}
