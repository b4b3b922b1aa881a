"""What the program can say: the texts in its sources, with an ellipsis where something is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FILLED_IN = "…"
_PACKAGE = Path(__file__).parents[1] / "audioctl"
_FIELD = re.compile(r"\{\w+\}")
_FEWEST_FIXED = 12
"""Characters. A text with fewer, such as ``{problem}: {reason}``, could say anything."""


@cache
def sentences() -> frozenset[str]:
    """Every text that says something of its own."""
    texts = (text for tree in _modules() for text in _texts(tree))
    return frozenset(text for text in texts if _says_something(text))


@cache
def sentences_of_errors(*names: str) -> frozenset[str]:
    """The messages with which errors of these classes are made."""
    texts = (
        _text(node.args[0])
        for tree in _modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in names
    )
    return frozenset(text for text in texts if _says_something(text))


def can_be_said(line: str) -> bool:
    """Whether the program prints such a line: one of its sentences, or one that begins with a part of a sentence."""
    return any(_expression(sentence).fullmatch(line) for sentence in sentences())


@cache
def _expression(sentence: str) -> re.Pattern[str]:
    filled = ".+".join(map(re.escape, sentence.split(FILLED_IN)))
    return re.compile(filled if sentence[-1] in ".?!" else f"{filled}.*")


def _says_something(text: str) -> bool:
    return " " in text and len(text.replace(FILLED_IN, "")) >= _FEWEST_FIXED


@cache
def _modules() -> tuple[ast.Module, ...]:
    return tuple(ast.parse(path.read_text()) for path in sorted(_PACKAGE.rglob("*.py")))


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.BinOp | ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield _text(node)
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _text(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return _FIELD.sub(FILLED_IN, text)
        case ast.JoinedStr(values=parts):
            return "".join(map(_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return FILLED_IN
