"""Calculated tags: a formula over other tags, read by a whitelist of Python's own grammar and computed by numpy.

    {FIC-101.PV} / steam                     a ratio; braces hold names that are no plain words
    log(x / (1 - x))                         a transform
    curve(valve, (0, 0), (50, 20), (100, 100))   a characteristic, straight between its points

Nothing of a formula is executed: its syntax tree may hold numbers, tags, + - * / **, and the functions of `FUNCTIONS`.
What has no value (a tag is missing, a division by zero, the logarithm of a negative number) is missing.
This module imports nothing heavy.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LONGEST = 500  # characters
LARGEST = 1e300
DEEPEST = 30  # levels of the syntax tree
QUOTED = re.compile(r"\{([^{}]*)\}")
PLACE = "_tag_{}_"  # what stands for a name in braces while the rest is parsed
FUNCTIONS = {"log": 1, "log10": 1, "exp": 1, "sqrt": 1, "abs": 1, "min": None, "max": None, "curve": None}
OPERATORS: dict[type, str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
OPERATORS |= {ast.Pow: "power"}
UNARY: dict[type, str] = {ast.USub: "negative", ast.UAdd: "positive"}


class FormulaError(ValueError):
    """A formula that cannot be read; it says why."""


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Attributes:
        text: as it was written.
        tags: the tags that it needs, in order of appearance.
    """

    text: str
    tags: tuple[str, ...]
    _tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Read a formula.

        Raises:
            FormulaError: it is empty, too long, no arithmetic, or uses what is not allowed.
        """
        if not text.strip() or len(text) > LONGEST:
            raise FormulaError(f"a formula has 1 to {LONGEST} characters")
        quoted = [found.group(1).strip() for found in QUOTED.finditer(text)]
        numbers = iter(range(len(quoted)))
        plain = QUOTED.sub(lambda _: PLACE.format(next(numbers)), text)
        try:
            tree = ast.parse(plain.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise FormulaError("it is no arithmetic such as {feed} / steam; names with signs stand in braces") from None
        names = {PLACE.format(i): name for i, name in enumerate(quoted)}
        tags: dict[str, None] = {}
        tree = _checked(tree, names, tags, 0)
        if not tags:
            raise FormulaError("it names no tag")
        return cls(text, tuple(tags), tree)

    def compute(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) float64 from the values (n,) of its tags; NaN where there is none."""
        import numpy as np

        with np.errstate(all="ignore"):
            found = np.asarray(_compute(self._tree, values), np.float64)
            missing = np.any([~np.isfinite(values[tag]) for tag in self.tags], axis=0)
        out: np.ndarray = np.where(np.isfinite(found) & ~missing, found, np.nan)
        return out


def _checked(node: ast.expr, names: Mapping[str, str], tags: dict[str, None], depth: int) -> ast.expr:
    """The same tree with every name in braces restored; its tags are added to `tags`."""
    if depth > DEEPEST:
        raise FormulaError("it is nested too deeply")

    def inner(child: ast.expr) -> ast.expr:
        return _checked(child, names, tags, depth + 1)

    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        if not abs(node.value) <= LARGEST:
            raise FormulaError("a number is too large")
        return ast.Constant(float(node.value))
    if isinstance(node, ast.Name):
        name = names.get(node.id, node.id)
        tags[name] = None
        return ast.Name(name)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return ast.BinOp(inner(node.left), node.op, inner(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in UNARY:
        return ast.UnaryOp(node.op, inner(node.operand))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _checked_call(node, inner)
    allowed = f"numbers, tags, + - * / **, {', '.join(FUNCTIONS)}"
    raise FormulaError(f"{type(node).__name__.lower()} is not allowed: {allowed}")


def _checked_call(node: ast.Call, inner: Callable[[ast.expr], ast.expr]) -> ast.expr:
    assert isinstance(node.func, ast.Name)  # noqa: S101
    name, count = node.func.id, len(node.args)
    if name not in FUNCTIONS:
        raise FormulaError(f"there is no function {name}; there are {', '.join(FUNCTIONS)}")
    if name == "curve":
        if not count:
            raise FormulaError("curve needs a tag and its points: curve(valve, (0, 0), (50, 20), (100, 100))")
        return ast.Call(node.func, [inner(node.args[0]), ast.Constant(_points(node.args[1:]))], [])  # type: ignore[arg-type]
    if (FUNCTIONS[name] is not None and count != FUNCTIONS[name]) or not count:
        raise FormulaError(f"{name} takes {FUNCTIONS[name] or 'at least one'} value{'' if FUNCTIONS[name] else 's'}")
    return ast.Call(node.func, [inner(arg) for arg in node.args], [])


def _points(nodes: Iterable[ast.expr]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The x and y of the points of a curve."""
    pairs = []
    for node in nodes:
        try:
            pair = ast.literal_eval(node)
        except (ValueError, TypeError, RecursionError):
            pair = None
        numbers = isinstance(pair, tuple) and len(pair) == 2 and all(type(v) in (int, float) for v in pair)
        if not numbers or not all(abs(v) <= LARGEST for v in pair):
            raise FormulaError("a point of a curve is a pair of numbers: (50, 20)")
        pairs.append((float(pair[0]), float(pair[1])))
    if len(pairs) < 2 or any(a[0] >= b[0] for a, b in pairwise(pairs)):
        raise FormulaError("a curve has two points or more, from left to right")
    x, y = zip(*pairs, strict=True)
    return x, y


def _compute(node: Any, values: Mapping[str, np.ndarray]) -> Any:
    import numpy as np

    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BinOp):
        return getattr(np, OPERATORS[type(node.op)])(_compute(node.left, values), _compute(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return getattr(np, UNARY[type(node.op)])(_compute(node.operand, values))
    name = node.func.id
    if name == "curve":
        return np.interp(_compute(node.args[0], values), *node.args[1].value)
    found = [_compute(arg, values) for arg in node.args]
    if name in ("min", "max"):
        together = np.minimum if name == "min" else np.maximum
        out = found[0]
        for more in found[1:]:
            out = together(out, more)
        return out
    return getattr(np, name)(*found)


@dataclass(frozen=True)
class Formulas:
    """The formulas of the calculated tags of a plant, each after those that it needs.

    Attributes:
        by_tag: calculated tag → formula.
    """

    by_tag: Mapping[str, Formula]

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The measured tags that are needed."""
        wanted = [tag for formula in self.by_tag.values() for tag in formula.tags]
        return tuple(dict.fromkeys(tag for tag in wanted if tag not in self.by_tag))

    def compute(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All calculated tags (n,) from measured ones (n,)."""
        known = dict(values)
        for tag, formula in self.by_tag.items():
            known[tag] = formula.compute(known)
        return {tag: known[tag] for tag in self.by_tag}


def ordered(formulas: Mapping[str, Formula]) -> tuple[Formulas, tuple[str, ...]]:
    """The formulas, each after those that it needs, and the tags that stand in a circle."""
    done: dict[str, Formula] = {}
    left = dict(formulas)
    while left:
        ready = [tag for tag, formula in left.items() if not any(need in left for need in formula.tags)]
        if not ready:
            return Formulas(done), tuple(left)
        for tag in ready:
            done[tag] = left.pop(tag)
    return Formulas(done), ()
