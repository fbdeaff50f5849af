# SPDX-License-Identifier: Apache-2.0
"""Constructors with the signatures that descriptions tell."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from slotwise.optimizers import _deferred
from slotwise.optimizers._description import Description, Parameter
from slotwise.optimizers._kinds import RANKS, TEXT, Kind, OneOf

SPARSE_MODES = ("keras", "lazy", "deferred")

# Beyond Keras's, and so keyword-only.
SPARSE = Parameter("sparse", SPARSE_MODES[0], OneOf(SPARSE_MODES), keyword_only=True)
COMM = Parameter("comm", None, RANKS, keyword_only=True)


def signature(description: Description, common: Sequence[Parameter]) -> inspect.Signature:
    """The signature of the constructor; `common` are parameters that all of an API have."""
    defaults = dict(description.defaults)
    others = [p for p in common if p.name not in description.by_name]
    parameters = [
        *description.parameters,
        *(replace(p, default=defaults.get(p.name, p.default)) for p in others),
    ]
    positional = [p for p in parameters if not p.keyword_only]
    at = next(
        (i for i, p in enumerate(positional) if p.name == description.name_before),
        len(positional),
    )
    positional.insert(at, Parameter("name", description.name, TEXT))
    last = [p for p in parameters if p.keyword_only]
    kinds = inspect.Parameter
    return inspect.Signature(
        [
            kinds("self", kinds.POSITIONAL_OR_KEYWORD),
            *(kinds(p.name, kinds.POSITIONAL_OR_KEYWORD, default=p.default) for p in positional),
            *(kinds(p.name, kinds.KEYWORD_ONLY, default=p.default) for p in last),
            kinds("kwargs", kinds.VAR_KEYWORD),
        ]
    )


def constructor(description: Description, common: Sequence[Parameter]) -> Callable[..., None]:
    """The constructor, with its signature; it calls `_set_up`."""
    expected = signature(description, common)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = expected.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments["self"]
        self._set_up(arguments, arguments.pop("kwargs"))

    __init__.__signature__ = expected  # type: ignore[attr-defined]
    __init__.__doc__ = None
    return __init__


def sparse_modes(description: Description) -> tuple[str, ...]:
    if description.is_whole:
        return SPARSE_MODES[:1]
    off = dict.fromkeys(description.options, False)
    return SPARSE_MODES[:2] if _deferred.refusal(description, off) else SPARSE_MODES


def kinds_of(description: Description) -> dict[str, Kind]:
    """The kinds of the attributes that own parameters become, and of `sparse`."""
    own = {parameter.name: parameter.kind for parameter in description.parameters}
    return {**own, SPARSE.name: OneOf(sparse_modes(description))}
