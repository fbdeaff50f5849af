# SPDX-License-Identifier: Apache-2.0
"""Docstrings of the optimizers: the paragraphs that they share, filled in at import.

A class with a description writes ``{{learning_rate}}`` and ``{{common}}`` among its arguments, and
``{{raises}}`` after them, each on a line of its own.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable

from slotwise.optimizers._description import Description

_WIDTH = 100
_INDENT = 8  # of arguments, in the source

_NAME = "name: the name in error messages."
_SPARSE = (
    'sparse: ``"keras"``, or ``"lazy"``: a sparse gradient changes its own rows only, see '
    "`slotwise.support_matrix`."
)
_SPARSE_OF_WHOLE = 'sparse: ``"keras"``; steps depend on the whole variable.'
_SPARSE_DECAY = (
    "sparse_decay: the rows of a sparse gradient's variable that decay, and whose average follows: "
    '``"touched"``, those of the gradient, or ``"whole"``. By default as `sparse`.'
)
_COMM = (
    "comm: the ranks that take each step together, as `slotwise.distributed` gives them, so that "
    "variables may be `slotwise.ShardedTable`; None: this process alone."
)
_RAISES = "Raises:\n    TypeError, ValueError: arguments that do not fit."


def _current(description: Description, others: Iterable[str]) -> dict[str, list[str]]:
    whole = description.is_whole
    return {
        "learning_rate": [
            "learning_rate: a number, a schedule, or a function that returns a number, called once."
        ],
        "common": [
            f"{', '.join(others)}, kwargs: see `Optimizer`.",
            _NAME,
            _SPARSE_OF_WHOLE if whole else _SPARSE,
            'sparse_decay: ``"whole"``.' if whole else _SPARSE_DECAY,
            _COMM,
        ],
    }


def _legacy(description: Description, others: Iterable[str]) -> dict[str, list[str]]:
    return {
        "learning_rate": ["learning_rate: a number, a schedule, a callable or an array."],
        "common": [
            _NAME,
            _SPARSE,
            _COMM,
            "kwargs: ``clipnorm``, ``clipvalue``, ``global_clipnorm``, ``decay``, ``lr``, "
            "``gradient_aggregator``, ``gradient_transformers``: see `Optimizer`.",
        ],
    }


_PARAGRAPHS: dict[str, Callable[[Description, Iterable[str]], dict[str, list[str]]]] = {
    "current": _current,
    "legacy": _legacy,
}


def fill(cls: type, api: str, description: Description, settings: Iterable[str] = ()) -> None:
    """Put the shared paragraphs into a class's docstring.

    Args:
        cls: the class.
        api: ``"current"`` or ``"legacy"``.
        description: the class's.
        settings: the parameters of all optimizers of the API; those that the class documents
            itself are left out.
    """
    template = cls.__doc__
    if template is None:  # python -OO
        return
    others = [name for name in settings if not re.search(rf"(?m)^ *{name}: ", template)]
    found = {
        name: "\n".join(map(_wrapped, arguments))
        for name, arguments in _PARAGRAPHS[api](description, others).items()
    }
    found["raises"] = _RAISES

    def text(match: re.Match[str]) -> str:
        return textwrap.indent(found[match[2]], match[1])

    cls.__doc__ = re.sub(r"(?m)^( *)\{\{(\w+)\}\}$", text, template)


def _wrapped(argument: str) -> str:
    return textwrap.fill(
        argument, _WIDTH - _INDENT, subsequent_indent="    ", break_on_hyphens=False
    )
