"""The expression language of specs: bounded, side-effect free, with one error type."""

from .compiled import Expression, compile_condition, compile_expression
from .errors import ExpressionError
from .syntax import Reference
from .types import Fault, Inference

__all__ = [
    "Expression",
    "ExpressionError",
    "Fault",
    "Inference",
    "Reference",
    "compile_condition",
    "compile_expression",
]
