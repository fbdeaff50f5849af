"""What a sparse gradient changes, for every optimizer."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import legacy
from slotwise.optimizers._description import Scope
from slotwise.optimizers.legacy._described import SPARSE_MODES, Described

_CASES: tuple[tuple[type[Described], dict[str, Any]], ...] = (
    (legacy.SGD, {}),
    (legacy.SGD, {"momentum": 0.9}),
    (legacy.RMSprop, {}),
    (legacy.RMSprop, {"momentum": 0.9}),
    (legacy.Adagrad, {}),
    (legacy.Adadelta, {}),
    (legacy.Adam, {}),
    (legacy.Adam, {"amsgrad": True}),
    (legacy.Adamax, {}),
    (legacy.Nadam, {}),
    (legacy.Ftrl, {}),
)
_TOUCHED: dict[Scope, dict[str, str]] = {
    "rows": {"variable": "rows", "slots": "rows"},
    "slots": {"variable": "rows", "slots": "whole"},
    "whole": {"variable": "whole", "slots": "whole"},
}


def support_matrix() -> list[dict[str, Any]]:
    """Which rows of a variable and of its slots a sparse gradient changes, for every optimizer.

    Returns:
        A dict for each optimizer, with its ``options`` where these matter, and ``sparse`` mode.
        ``variable`` and ``slots`` are ``"rows"``, those that the gradient has, or ``"whole"``:
        slots decay, and variables move by their momentum, in the other rows, too.

    Example:
        >>> import slotwise
        >>> [row for row in slotwise.support_matrix() if row["optimizer"] == "Nadam"][0]
        {'api': 'legacy', 'optimizer': 'Nadam', 'options': {}, 'sparse': 'keras',
         'variable': 'rows', 'slots': 'whole'}
    """
    matrix = []
    for cls, options in _CASES:
        scope = cls.description.update(cls(**options)).scope
        for mode in SPARSE_MODES:
            touched = _TOUCHED[scope if mode == "keras" else "rows"]
            matrix.append(
                {
                    "api": "legacy",
                    "optimizer": cls.__name__,
                    "options": options,
                    "sparse": mode,
                    **touched,
                }
            )
    return matrix
