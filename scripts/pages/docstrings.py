# SPDX-License-Identifier: Apache-2.0
"""Shows to mkdocstrings what users see: docstrings and signatures as they are after the import.

Griffe reads the sources. The optimizers fill their docstrings in when they are imported and make
their constructors from descriptions, so these are taken from the classes. PyTorch is not installed
where the pages are made: what cannot be imported stays as it was read.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

from scripts.pages import equations
from scripts.pages.public import entries, entry_of, imported

_OTHERS = re.compile(r"^(Slots|Source|Shape): *((?:.*\n)(?: {4}.*\n?)*)", re.MULTILINE)
_SEVERAL = re.compile(r"^    \w+(?:, \w+)*,\n(?: +\w+(?:, \w+)*,\n)* +(?=[\w, ]+:)", re.MULTILINE)
_ROLE = re.compile(r"(?<![`\w\[])`([A-Za-z_][\w.]*)`(?![`\w\]])")


class AsImported(griffe.Extension):
    """Puts docstrings and constructors of the imported package in place of those in the sources."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        _visit(pkg)
        _export(pkg)


def _visit(module: griffe.Module | griffe.Class) -> None:
    for member in list(module.members.values()):
        if member.is_alias:
            continue
        if isinstance(member, griffe.Module):
            if not member.path.startswith("slotwise._core"):
                _visit(member)
        elif isinstance(member, griffe.Class):
            _fill(member)
            _visit(member)
        else:
            _fill(member)


def _export(package: griffe.Module) -> None:
    """Names that a module has by a list made at run time, as the ops, are not in its source."""
    for entry in entries():
        module, _, name = entry.path.removeprefix("slotwise.").rpartition(".")
        home = package[module] if module else package
        if name not in home.members:
            real = imported(entry.path)
            home.set_member(name, griffe.Alias(name, f"{real.__module__}.{real.__qualname__}"))


def _fill(found: Any) -> None:
    # Attributes may be descriptors, which must not be asked.
    real = imported(found.path) if isinstance(found, (griffe.Class, griffe.Function)) else None
    if isinstance(found, griffe.Class) and inspect.isclass(real):
        _make_constructor(found, real)
    text = getattr(real, "__doc__", None) if callable(real) else None
    if not isinstance(text, str):
        text = found.docstring.value if found.docstring else None
    if text is not None:
        text = inspect.cleandoc(text) + "\n"
        if isinstance(found, (griffe.Class, griffe.Function)):
            text = _with_other_names(text, real)
        shown = _with_links(equations.typeset(_in_griffes_terms(text)), found.path)
        found.docstring = griffe.Docstring(
            shown, parent=found, lineno=found.lineno, endlineno=found.endlineno
        )


def _with_other_names(text: str, real: Any) -> str:
    """After its first paragraph, under which other names users find it, with anchors."""
    entry = _BY_IDENTITY.get(id(real)) if real is not None else None
    others = [name for name in entry.names if name != entry.path] if entry else []
    if not others:
        return text
    anchors = "".join(f'<a id="{name}"></a>' for name in others)
    names = ", ".join(f"``{name}``" for name in others)
    summary, gap, rest = text.partition("\n\n")
    return f"{summary.rstrip()}\n\n{anchors}Also {names}.\n{gap}{rest}"


_BY_IDENTITY = {
    id(real): entry for entry in entries() if (real := imported(entry.path)) is not None
}


def _make_constructor(found: griffe.Class, real: type) -> None:
    """A constructor that is made by a function is an attribute to Griffe, without parameters."""
    made = found.members.get("__init__")
    if made is None or isinstance(made, griffe.Function):
        return
    parameters = griffe.Parameters(
        *(
            griffe.Parameter(
                p.name,
                kind=griffe.ParameterKind(_KINDS[p.kind]),
                default=None if p.default is p.empty else repr(p.default),
            )
            for p in inspect.signature(real).parameters.values()
        )
    )
    if "self" not in [p.name for p in parameters]:
        parameters = griffe.Parameters(griffe.Parameter("self", kind=_FIRST), *parameters)
    found.set_member("__init__", griffe.Function("__init__", parameters=parameters, parent=found))


_FIRST = griffe.ParameterKind.positional_or_keyword
_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: griffe.ParameterKind.positional_only,
    inspect.Parameter.POSITIONAL_OR_KEYWORD: _FIRST,
    inspect.Parameter.VAR_POSITIONAL: griffe.ParameterKind.var_positional,
    inspect.Parameter.KEYWORD_ONLY: griffe.ParameterKind.keyword_only,
    inspect.Parameter.VAR_KEYWORD: griffe.ParameterKind.var_keyword,
}


def _in_griffes_terms(text: str) -> str:
    """Sections as Griffe reads them; Google's style leaves a few things open."""
    # Two colons before a block are reStructuredText's.
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    # Names of arguments that are explained together go on in the next line.
    text = _SEVERAL.sub(lambda m: f"    {' '.join(m[0].split())} ", text)
    # Other sections are paragraphs.
    return _OTHERS.sub(lambda m: f"**{m[1]}:** {' '.join(m[2].split())}\n", text)


def _with_links(text: str, path: str) -> str:
    """Names in single backticks become links, where a page has the name."""

    def link(match: re.Match[str]) -> str:
        place = _place(match[1], path)
        return f"[`{match[1]}`][{place}]" if place else match[0]

    return _ROLE.sub(link, text)


def _place(name: str, path: str) -> str:
    """The public path that a name means in a docstring, or nothing."""
    _, *rooms = path.split(".")
    nearer = [f"slotwise.{'.'.join(rooms[:count])}.{name}" for count in (2, 1) if rooms[count:]]
    for candidate in (name, *nearer, f"slotwise.{name}"):
        if entry := entry_of(candidate.replace(".current.", ".")):
            return entry.path
    return ""
