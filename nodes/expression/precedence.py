"""How tightly operators bind.

From the tightest to the loosest:

    a.b  a['b']  a[0]  a?.b  a?.[0]  f(x)     links and calls
    x | f    x | f: y    x | f(y)             pipe: x becomes the first argument of f
    -x  !x
    *  /  %
    +  -
    ==  !=  <  <=  >  >=  in  not in          one per expression: `a < b < c` is refused
    not x
    and  &&
    or  ||
    c ? a : b                                 right to left

So a pipe belongs to the value directly before it: `a.b | default: 0 > 3` is `(a.b | default: 0) > 3`,
and `not a.ok | default: false` is `not (a.ok | default: false)`. An argument after `f:` is one value
with its links (and sign); anything longer takes parentheses. Further arguments follow commas as far as
the function takes them; inside `[…]`, `{…}` and `f(…)`, where commas have their own meaning, only as far
as the function needs them. Between `?` and `:` a colon after a piped function that takes more arguments is
the function's; parentheses around the pipe give it back to the ternary.
"""

from enum import IntEnum
from typing import Final


class Power(IntEnum):
    """How tightly an operator binds."""

    TERNARY = 1
    OR = 2
    AND = 3
    NOT = 4
    COMPARISON = 5
    SUM = 6
    PRODUCT = 7
    UNARY = 8
    PIPE = 9


BINDING: Final = {
    "?": Power.TERNARY,
    "or": Power.OR,
    "and": Power.AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not in"), Power.COMPARISON),
    **dict.fromkeys("+-", Power.SUM),
    **dict.fromkeys("*/%", Power.PRODUCT),
    "|": Power.PIPE,
}
