"""Pydantic models of a workflow's input and of the state that a call returns; forms are made from them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import GetJsonSchemaHandler, RootModel, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from graphs.analysis.plan import Plan
from state.schemas import faults, with_defaults
from state.values import Schema


def input_model(plan: Plan) -> type[RootModel[Any]]:
    """A model that accepts what fits the workflow's input schema, and shows that schema as its own."""
    return _model(f"{plan.spec.name}_input", _key({"title": plan.spec.name, **_described(plan), **plan.spec.input}))


def output_model(plan: Plan) -> type[RootModel[Any]]:
    """A model of ``GraphState`` for this workflow."""
    paths: Schema = {"type": "object", "additionalProperties": True}
    properties: Schema = {
        "output": {"description": "The result of the run."},
        "input": plan.spec.input,
        "run": {**paths, "description": "Id, workflow, status and times of the run; its error where it failed."},
        "nodes": {**paths, "description": "One record per step, by path."},
        "results": {**paths, "description": "The value of each finished step, by path."},
        "path": {"type": "array", "items": {"type": "string"}, "description": "Steps in the order of their ends."},
    }
    return _model(f"{plan.spec.name}_state", _key({"type": "object", "properties": properties}))


def _described(plan: Plan) -> Schema:
    return {"description": plan.spec.description} if plan.spec.description else {}


def _key(schema: Schema) -> str:
    import json

    return json.dumps(schema)


@lru_cache(maxsize=256)
def _model(name: str, schema_json: str) -> type[RootModel[Any]]:
    import json

    schema: Schema = json.loads(schema_json)

    class FromSchema(RootModel[Any]):
        @model_validator(mode="after")
        def fits(self) -> FromSchema:
            plain = with_defaults(schema, self.root)
            if found := faults(schema, plain):
                raise ValueError("; ".join(found))
            self.root = plain
            return self

        @classmethod
        def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
            return dict(schema)

    return create_model(name, __base__=FromSchema)
