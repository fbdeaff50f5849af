# SPDX-License-Identifier: Apache-2.0
"""The pages of the reference, in Markdown: made anew at each build, from what is public."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import slotwise

from scripts.pages.public import MODULES, Entry, entries, imported, listed, source

_CURRENT, _LEGACY = "slotwise.optimizers", "slotwise.optimizers.legacy"
# Of a base class, what it inherits from rooms that are not public is part of it.
_WITH_METHODS = ("Optimizer", "LossScaleOptimizer")


def pages() -> dict[str, str]:
    """Every page by its place below docs/."""
    found = {
        "reference/index.md": _index(),
        "reference/support_matrix.md": _support_matrix(),
        "reference/optimizers/index.md": _optimizers(),
        "reference/optimizers/legacy.md": _module(
            _LEGACY, "The API before TensorFlow 2.11, now `tf.keras.optimizers.legacy`."
        ),
        "reference/optimizers/schedules.md": _module("slotwise.optimizers.schedules"),
        "reference/slotwise.md": _module("slotwise", note=_elsewhere()),
        "reference/raw_ops/dense.md": _ops("dense", "Ops on whole variables", "Apply"),
        "reference/raw_ops/sparse.md": _ops("sparse", "Ops on rows", "SparseApply"),
        "reference/raw_ops/scatter.md": _ops("scatter", "Scatter ops", "Scatter"),
        "reference/raw_ops/index.md": _raw_ops(),
    }
    for name in ("state", "distributed", "initializers", "interop", "torch"):
        found[f"reference/{name}.md"] = _module(f"slotwise.{name}")
    for entry in _of(_CURRENT):
        if entry.name not in ("get", "serialize", "deserialize") and _is_class(entry):
            found[_page_of(entry)] = _optimizer(entry)
    return found


def _of(module: str) -> list[Entry]:
    return [entry for entry in entries() if entry.module == module]


def _is_class(entry: Entry) -> bool:
    return inspect.isclass(imported(entry.path))


def _page_of(entry: Entry) -> str:
    return f"reference/optimizers/{entry.name}.md"


def _entry(entry: Entry, level: int, options: Sequence[str] = ()) -> str:
    """One name, as mkdocstrings is asked for it, with anchors for its other names."""
    lines = [f"::: {entry.path}", "    options:", f"      heading_level: {level}"]
    lines += [f"      {option}" for option in options]
    return "\n".join([*lines, "", ""])


def _options(entry: Entry) -> list[str]:
    real = imported(entry.path)
    if entry.name in _WITH_METHODS:
        return ["inherited_members: true"]
    if entry.module in (_CURRENT, _LEGACY) and inspect.isclass(real):
        return ["members: false"]
    if entry.module == "slotwise.torch":
        return ["members: false"] if entry.name[0].isupper() and entry.name != "Optimizer" else []
    return []


def _module(module: str, about: str = "", note: str = "") -> str:
    parts = [f"# {module}\n\n", f"{about}\n\n" if about else f"{_docstring(module)}\n\n", note]
    parts += [_entry(entry, 2, _options(entry)) for entry in _of(module)]
    return "".join(parts)


def _docstring(module: str) -> str:
    real = imported(module)
    if real is not None:
        text = inspect.getdoc(real) or ""
    else:
        text = ast.get_docstring(ast.parse(source(module).read_text())) or ""
    return text.replace("::\n", ":\n").replace(
        "See docs/state.md", "See [State on disk](../state.md)"
    )


def _elsewhere() -> str:
    """What is called by the package's name and stands on another page."""
    lines = ["Also here, and explained on other pages:\n\n"]
    others = [e for e in entries() if e.path.count(".") == 1 and e.module not in ("slotwise",)]
    for module, members in groupby(others, lambda entry: entry.module):
        names = ", ".join(f"[`{e.path}`][{e.path}]" for e in members)
        lines.append(f"- {names}, of [`{module}`]({module.split('.')[1]}.md)\n")
    return "".join(lines) + "\n"


def _index() -> str:
    """Every public name, in one list."""
    parts = [
        "# Reference\n\n",
        "Every public name. The docstrings are those that `help()` shows in Python, with their\n",
        "equations typeset.\n\n",
        "| page | what it has |\n|---|---|\n",
        "| [Support matrix](support_matrix.md) | which optimizer is where; what a sparse gradient "
        "changes |\n",
        "| [The ops](../raw_ops.md) | arrays, hyperparameters, ranges, locking |\n",
        "| [Arguments and errors](../errors.md) | what is checked when, and what errors say |\n",
        "| [Deviations](../deviations.md) | where results or checks differ from TensorFlow's and "
        "Keras's |\n",
        "| [Instruction sets](../targets.md) | dispatch, environment variables, builds |\n\n",
    ]
    for module in MODULES:
        links = [f"[`{name}`][{entry.path}]" for name, entry in listed(module)]
        parts.append(f"## {module}\n\n{' · '.join(links)}\n{{ .names }}\n\n")
    return "".join(parts)


def _optimizers() -> str:
    own = [entry for entry in _of(_CURRENT) if not _is_class(entry)]
    parts = [
        "# slotwise.optimizers\n\n",
        "Optimizers with state: Keras's classes since TensorFlow 2.11. Those before it are in\n",
        "[`slotwise.optimizers.legacy`](legacy.md). [Coming from Keras](../../keras.md) helps to\n",
        "choose.\n\n",
        "| optimizer | what it does |\n|---|---|\n",
    ]
    for entry in sorted(_of(_CURRENT), key=lambda entry: entry.name.lower()):
        if _is_class(entry):
            parts.append(f"| [`{entry.name}`]({entry.name}.md) | {_summary(entry)} |\n")
    parts.append("\n")
    parts += [_entry(entry, 2) for entry in own]
    return "".join(parts)


def _summary(entry: Entry) -> str:
    return (inspect.getdoc(imported(entry.path)) or "").split("\n", 1)[0]


def _optimizer(entry: Entry) -> str:
    """A page of its own: the class, what a sparse gradient changes, the other APIs."""
    parts = [_entry(entry, 1, _options(entry))]
    if entry.name not in _WITH_METHODS:
        parts.append(
            "Methods and attributes that all optimizers have: "
            "[`Optimizer`][slotwise.optimizers.Optimizer].\n\n"
        )
    rows = [row for row in slotwise.support_matrix() if row["optimizer"] == entry.name]
    mine = [row for row in rows if row["api"] == "current"]
    if mine:
        parts.append("## What a sparse gradient changes\n\n")
        parts.append(_modes(mine, with_names=False))
        parts.append("\n[Support matrix](../support_matrix.md) has all optimizers.\n\n")
    others = [
        f"[`{other.path}`][{other.path}]"
        for other in entries()
        if other.name.lower() == entry.name.lower() and other.path != entry.path
    ]
    if others:
        parts.append(f"## In other APIs\n\n{', '.join(others)}\n")
    return "".join(parts)


def _raw_ops() -> str:
    text = _docstring("slotwise.raw_ops")
    text = text.replace("docs/numerics.md", "[Numerics](../../numerics.md)")
    text = text.replace("docs/deviations.md", "[Deviations](../../deviations.md)")
    lines = []
    for line in text.splitlines():
        stripped = line.strip()
        if line and not line.startswith(" ") and line.endswith(":"):
            lines += [f"## {stripped.rstrip(':')}", ""]
        elif line.startswith("    ") and stripped.startswith(("TypeError:", "ValueError:")):
            kind, _, rest = stripped.partition(":")
            lines += ["", f"- `{kind}`:{rest}"]
        else:
            lines.append(line.removeprefix("    ").replace("``", "`"))
    parts = ["# slotwise.raw_ops\n\n", "\n".join(lines), "\n\n## Pages\n\n"]
    for name, title in (
        ("dense", "ops on whole variables"),
        ("sparse", "ops on rows of a table"),
        ("scatter", "rows set, added, multiplied"),
    ):
        parts.append(f"- [{title.capitalize()}]({name}.md)\n")
    parts.append("- [The ops](../../raw_ops.md): all arguments and ranges in tables\n")
    return "".join(parts)


def _ops(module: str, title: str, prefix: str) -> str:
    real = imported(f"slotwise.raw_ops.{module}")
    about = {
        "dense": "Each updates a variable and its slots in place, by a gradient of its shape.",
        "sparse": "Each updates the rows of a batch; `duplicates`, `bounds` and bags are explained "
        "in [Sparse updates](../../sparse.md).",
        "scatter": "Each changes rows of an array of any numeric dtype.",
    }[module]
    parts = [f"# {title}\n\n{about} [What all ops have in common](index.md).\n\n"]
    mine = [e for e in _of("slotwise.raw_ops") if e.name in real.__all__]
    for entry in sorted(mine, key=lambda entry: entry.name.lower()):
        parts.append(_entry(entry, 2))
    return "".join(parts)


def _support_matrix() -> str:
    matrix = slotwise.support_matrix()
    parts = [
        "# Support matrix\n\n",
        "Made from `slotwise.support_matrix()` and the public names of this version.\n\n",
        "## Which optimizer is where\n\n",
        _where(),
        "\n## What a sparse gradient changes\n\n",
        '"rows" are those that the gradient has; "whole" is the whole variable, or all of a slot.\n'
        "Two words are for the variable and for its slots. A dash: the optimizer has no such "
        "mode.\n",
        '`"keras"` is the default and means what Keras does; [deferred updates](../deferred.md)\n'
        "give the same at about the cost of lazy ones.\n\n",
    ]
    for api in ("current", "legacy"):
        parts.append(f"### {api.capitalize()} API\n\n")
        parts.append(_modes([row for row in matrix if row["api"] == api], with_names=True))
        parts.append("\n")
    return "".join(parts)


_MODES, _NONE = ("keras", "lazy", "deferred"), "\N{EN DASH}"


def _modes(rows: Iterable[dict[str, Any]], with_names: bool) -> str:
    """A row for each optimizer and its options, a column for each mode."""

    def key(row: dict[str, Any]) -> tuple[str, str]:
        return row["optimizer"], ", ".join(f"{k}={v}" for k, v in row["options"].items())

    head = [*(["optimizer"] if with_names else []), "options", *(f'`"{m}"`' for m in _MODES)]
    lines = [head, ["---"] * len(head)]
    for (name, options), members in groupby(sorted(rows, key=key), key):
        by_mode = {row["sparse"]: _changed(row) for row in members}
        cells = [f"`{options}`" if options else "", *(by_mode.get(m, _NONE) for m in _MODES)]
        lines.append([f"`{name}`", *cells] if with_names else cells)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _changed(row: dict[str, Any]) -> str:
    variable, slots = itemgetter("variable", "slots")(row)
    return str(variable) if variable == slots or not slots else f"{variable}, slots {slots}"


def _where() -> str:
    """Names of optimizers, and which of the three places has each."""
    places = (_CURRENT, _LEGACY, "slotwise.torch")
    by_name: dict[str, dict[str, tuple[str, Entry]]] = {}
    for place in places:
        for name, entry in listed(place):
            is_optimizer = not name.startswith(("Optimizer", "LossScale", "Embedding", "Fused"))
            if name[0].isupper() and is_optimizer:
                by_name.setdefault(name.lower(), {})[place] = (name, entry)
    lines = [["optimizer", "current", "legacy", "`slotwise.torch`"], ["---"] * 4]
    for _, found in sorted(by_name.items()):
        name = next(iter(found.values()))[0]
        cells = [f"[yes][{found[p][1].path}]" if p in found else "" for p in places]
        lines.append([f"`{name}`", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
