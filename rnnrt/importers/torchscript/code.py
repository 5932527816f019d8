"""The code in TorchScript's archives: text that is Python's by its grammar. It is parsed and never compiled
or run.

A file holds classes, each a list of methods, and functions; what a traced forward needs is nine kinds of
expressions and statements.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import NamedTuple

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError

#: characters of all the files that a program needs: a network of four hundred layers is half of it
MAX_CODE = 1 << 19
MAX_DEPTH = 64  # brackets in brackets
_BRACKETS = re.compile(rb"[()\[\]{}]")
#: what stands at the head of files of PyTorch before 1.4
_HEADS = (ast.Import, ast.ImportFrom)

SCRIPTED = (
    "Trace the module: torch.jit.save(torch.jit.trace(module.eval(), example), path). Or give from_torch "
    "this file with a spec: it takes the weights alone."
)


LOOPS = (
    "A loop over frames was traced as so many copies of its body: give from_torch the live module, or trace "
    "it with fewer frames."
)


class Function(NamedTuple):
    """A method or a function. ``arguments``: [(name, its type as an ast node)], the first of a method its
    module; ``body``: statements; ``where``: what messages call it.
    """

    arguments: list
    body: list
    where: str


def scripted(what, where):
    """The refusal of code that tracing does not write."""
    return UnsupportedModelError(
        f"is scripted (torch.jit.script): its code holds {what}", where=where, fix=SCRIPTED
    )


class Code:
    """The classes and functions of an archive, parsed when first asked for. ``text``: f(name of a file) ->
    its bytes or None.
    """

    def __init__(self, text):
        self._text, self._left = text, MAX_CODE
        self._files: dict[str, dict] = {}

    def method(self, owner: str, name: str) -> Function:
        """A method of a class by its whole name, as "__torch__.record_onnx.Lstm"."""
        return self._found(owner, name)

    def function(self, name: str) -> Function:
        """A function by its whole name."""
        return self._found(name, None)

    def _found(self, name, method):
        folder, _, last = name.rpartition(".")
        file = folder.replace(".", "/") + ".py"
        if file not in self._files:
            self._files[file] = self._parsed(file)
        own = self._files[file].get(last)
        own = own.get(method) if isinstance(own, dict) else own if method is None else None
        if not isinstance(own, Function):
            what = f"the method {method[:80]!r} of {name[:160]}" if method else f"the function {name[:160]}"
            raise ModelFileError(f"lacks {what}", where=f"code/{file[:200]}")
        return own

    def _parsed(self, file):
        """{name: {method: Function}} of the classes in a file, and {name: Function}."""
        text, where = self._text(file), f"code/{file[:200]}"
        if text is None:
            raise ModelFileError("lacks a file of its code", where=where)
        self._left -= len(text)
        if self._left < 0:
            raise ResourceLimitError(
                "has more code than a program may", where=where, expected=f"{MAX_CODE:,}", fix=LOOPS
            )
        found = {}
        for item in _tree(text, where).body:
            if isinstance(item, ast.ClassDef):
                own = [m for m in item.body if isinstance(m, ast.FunctionDef)]
                found[item.name] = {m.name: _function(m, where, item.name) for m in own}
            elif isinstance(item, ast.FunctionDef):
                found[item.name] = _function(item, where)
            elif not isinstance(item, _HEADS) and not _is_version(item):
                raise scripted(f"a {type(item).__name__} outside its classes", f"{where}, line {item.lineno}")
        return found


def _tree(text, where):
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in b"([{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ResourceLimitError("its code is nested too deeply", where=where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.decode("utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ModelFileError(
            f"its code is not understood ({type(error).__name__})", where=where + line
        ) from None


def _is_version(item):
    """``op_version_set = 1``"""
    return isinstance(item, ast.Assign) and getattr(item.targets[0], "id", "") == "op_version_set"


def _function(item, where, owner=None):
    where = f"{item.name} of {owner}, {where}" if owner else f"{item.name}, {where}"
    given = item.args
    others = given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs
    if others or item.decorator_list:
        raise scripted("a function of another form", where)
    return Function([(a.arg, a.annotation) for a in given.args], item.body, where)
