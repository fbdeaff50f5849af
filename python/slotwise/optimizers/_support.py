"""What a sparse gradient changes, for every optimizer."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import current, legacy
from slotwise.optimizers._description import Scope
from slotwise.optimizers._signature import sparse_modes

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("SGD", {"momentum": 0.0}),
    ("SGD", {"momentum": 0.9}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("Nadam", {}),
    ("Ftrl", {}),
    ("Adafactor", {}),
    ("Lion", {}),
    ("Lamb", {}),
    ("AdaBelief", {}),
)
_TOUCHED: dict[Scope, dict[str, str]] = {
    "rows": {"variable": "rows", "slots": "rows"},
    "slots": {"variable": "rows", "slots": "whole"},
    "whole": {"variable": "whole", "slots": "whole"},
}


def support_matrix() -> list[dict[str, Any]]:
    """Which rows of a variable and of its slots a sparse gradient changes, for every optimizer.

    Returns:
        A dict for each optimizer of each ``api``, with its ``options`` where these matter, and
        ``sparse`` mode. ``variable`` and ``slots`` are ``"rows"``, those that the gradient has, or
        ``"whole"``: slots decay, and variables move by their momentum, in the other rows, too.
        Weight decay and averages go by ``sparse_decay``, ``"whole"`` or ``"touched"`` rows.

    Example:
        >>> import slotwise
        >>> [row for row in slotwise.support_matrix() if row["optimizer"] == "Nadam"][0]
        {'api': 'legacy', 'optimizer': 'Nadam', 'options': {}, 'sparse': 'keras',
         'variable': 'rows', 'slots': 'whole'}
    """
    matrix = []
    for api, classes in (("legacy", legacy), ("current", current)):
        for name, options in _OPTIONS:
            cls = getattr(classes, name, None)
            if cls is None:
                continue
            scope = cls.description.update(cls(**options)).scope
            for mode in sparse_modes(cls.description):
                row = {"api": api, "optimizer": name, "options": options, "sparse": mode}
                matrix.append({**row, **_TOUCHED[scope if mode == "keras" else "rows"]})
    return matrix
