# SPDX-License-Identifier: Apache-2.0
"""Makes the functions of the ops from `_table.py` and the extension's registry.

They are ordinary functions, compiled from two lines of source each: a call costs what it would if
they were written by hand. `scripts/make_stub.py` writes stubs for type checkers and editors.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

from slotwise import _core
from slotwise.raw_ops._table import (
    EXAMPLE,
    INTEGERS,
    ROW_SENTENCES,
    RULES,
    SCATTERS,
    SENTENCES,
    Rule,
)

Array: TypeAlias = Any  # an ndarray, or an exporter of the buffer protocol or DLPack
ArrayT = TypeVar("ArrayT")
Ids: TypeAlias = Any  # an Array of int32 or int64, or a RowPlan
Scalar: TypeAlias = SupportsFloat

# What annotations of the functions are written as, and what they are.
_TYPES: dict[str, Any] = {
    "Array": Array,
    "Array | None": Array | None,
    "ArrayT": ArrayT,
    "ArrayT | int": ArrayT | int,
    "Ids": Ids,
    "Scalar": Scalar,
    "SupportsIndex": SupportsIndex,
    "bool": bool,
    "str": str,
    "str | None": str | None,
}

_WIDTH = 94  # of docstrings

Option: TypeAlias = tuple[str, str, bool | str | None]  # name, type, default
_BAGS: tuple[Option, ...] = (
    ("offsets", "Array | None", None),
    ("weights", "Array | None", None),
    ("mode", "str", "sum"),
    ("include_last_offset", "bool", False),
)
_LOCKING: Option = ("use_locking", "bool", False)
_NAME: Option = ("name", "str | None", None)


@dataclass(frozen=True)
class Op:
    """One function: ``arguments`` are names and types, ``call`` is what it returns."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    options: tuple[Option, ...]
    result: str
    call: str
    doc: str
    other_name: str | None = None  # that of TensorFlow's op for resource variables

    def source(self) -> str:
        names = [name for name, _ in self.arguments]
        names += [f"{name}={default!r}" for name, _, default in self.options]
        return f"def {self.name}({', '.join(names)}):\n    return {self.call}\n\n"

    def annotations(self) -> dict[str, Any]:
        options = [(name, of) for name, of, _ in self.options]
        written = [*self.arguments, *options, ("return", self.result)]
        return {name: _TYPES[of] for name, of in written}


def define(ops: Iterable[Op], module: dict[str, Any]) -> list[str]:
    """Defines the functions in a module's namespace; their names, sorted."""
    ops, names = list(ops), []
    source = "".join(op.source() for op in ops)
    file = f"<{module['__name__']}>"
    module["_core"] = _core  # which the functions call
    exec(compile(source, file, "exec", dont_inherit=True), module)
    # Where debuggers and tracebacks look for the source.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    for op in ops:
        function = module[op.name]
        function.__annotations__ = op.annotations()
        function.__doc__ = op.doc
        names.append(op.name)
        if op.other_name is not None:
            module[op.other_name] = function
            names.append(op.other_name)
    return sorted(names)


def dense_ops() -> Iterator[Op]:
    return (_training_op(rule, spec, False) for rule, spec in _rules() if spec["has_dense"])


def sparse_ops() -> Iterator[Op]:
    return (_training_op(rule, spec, True) for rule, spec in _rules() if spec["has_sparse"])


def scatter_ops() -> Iterator[Op]:
    for name, (result, example) in SCATTERS.items():
        for prefix, ref in (("", "ref"), ("Resource", "resource")):
            op = f"{prefix}Scatter{name}"
            locking = "False" if prefix else "use_locking"
            yield Op(
                name=op,
                arguments=((ref, "ArrayT"), ("indices", "Array"), ("updates", "Array")),
                options=(_NAME,) if prefix else (_LOCKING, _NAME),
                result="ArrayT",
                call=f"_core.scatter('Scatter{name}', {ref}, indices, updates, {locking})",
                doc=_SCATTER_DOC.format(op=op, result=result, example=example),
            )


def _rules() -> Iterator[tuple[Rule, dict[str, Any]]]:
    """The rules, with what the registry says of each."""
    registry = {spec["name"]: spec for spec in _core.RULES}
    return ((rule, registry[rule.name]) for rule in RULES)


def _training_op(rule: Rule, spec: Mapping[str, Any], sparse: bool) -> Op:
    prefix = "SparseApply" if sparse else "Apply"
    name, gradient = prefix + rule.name, "grad" if sparse else spec["grad"]
    names = rule.arguments.split()
    options: tuple[Option, ...] = tuple((n, "bool", default) for n, default in rule.options.items())
    passed = ["var", *spec["slots"], gradient, *spec["hypers"], *spec["attrs"], "use_locking"]
    if sparse:
        at = names.index(spec["grad"])
        names[at : at + 1] = [gradient, "indices"]
        options += (("duplicates", "str", "sequential"), ("bounds", "str", "raise"), *_BAGS)
        passed += ["indices", "duplicates", "bounds", *(name for name, _, _ in _BAGS)]
    types = {
        **dict.fromkeys(spec["slots"], "Array"),
        **dict.fromkeys(INTEGERS, "SupportsIndex"),
        "var": "ArrayT",
        gradient: "Array",
        "indices": "Ids",
    }
    return Op(
        name=name,
        arguments=tuple((n, types.get(n, "Scalar")) for n in names),
        options=(_LOCKING, *options, _NAME),
        result="ArrayT | int" if sparse else "ArrayT",
        call=f"_core.{name}({', '.join(passed)})",
        doc=_doc(rule, spec, [*names, *rule.options], sparse),
        other_name=f"Resource{name}" if prefix in rule.tensorflow else None,
    )


def _doc(rule: Rule, spec: Mapping[str, Any], names: Iterable[str], sparse: bool) -> str:
    line, _, about = rule.about.replace("\n    ", "\n").strip().partition("\n\n")
    example = rule.example.strip()
    sentences, rest = {**SENTENCES, **rule.says}, "use_locking, name: see the module."
    if sparse:
        sentences.update(ROW_SENTENCES)
        rest = (
            "use_locking, duplicates, bounds: see the modules.\n"
            "        offsets, weights, mode, include_last_offset, name: see the modules."
        )
    if sparse and spec["has_dense"]:
        dense = f"Apply{rule.name}"
        about = f"    The rows ``indices`` of ``var`` and its slots, by the rule of `{dense}`."
        example = _sparse_example(rule, spec)
    elif not sparse and not rule.tensorflow:
        line += " Not an op of TensorFlow's."
    arguments = [_fill(f"        {name}:", sentences[name].split(), " " * 12) for name in names]
    return "\n".join(
        [
            line,
            "",
            about,
            "",
            "    Args:",
            *arguments,
            f"        {rest}",
            "",
            "    Example:",
            "        >>> import numpy as np",
            "        >>> from slotwise import raw_ops",
            f"        {example}",
            "",
            _fill("    Source:", f"{rule.source}.".split(), " " * 8),
            "    ",
        ]
    )


def _sparse_example(rule: Rule, spec: Mapping[str, Any]) -> str:
    arrays = ["var", *spec["slots"]]
    arguments = [f"{name}={name}" for name in arrays]
    arguments += [f"{name}={EXAMPLE.get(name, 0.5)}" for name in spec["hypers"]]
    arguments += ["grad=np.ones((1, 2))", "indices=np.array([2])"]
    separated = [f"{argument}," for argument in arguments[:-1]] + arguments[-1:]
    lines = [
        *(f"        >>> {name} = np.ones((3, 2))" for name in arrays),
        f"        >>> table = raw_ops.SparseApply{rule.name}(",
        _fill("        ...    ", separated, "        ...     "),
        "        ... )",
        "        >>> (table[:2] == 1).all(), (table[2] != 1).all()",
        "        (np.True_, np.True_)",
    ]
    return "\n".join(lines).strip()


def _fill(start: str, words: Iterable[str], indent: str) -> str:
    """Lines of words; those after the first are indented."""
    lines, line = [], start
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = indent + word
        else:
            line = f"{line} {word}"
    return "\n".join([*lines, line])


_SCATTER_DOC = """Set rows to ``{result}``. Arguments and errors are those of the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> raw_ops.{op}(np.ones(3), np.array([1]), np.array([2.0])).tolist()
        [1.0, {example}, 1.0]
    """
