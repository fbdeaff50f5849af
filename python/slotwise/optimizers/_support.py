# SPDX-License-Identifier: Apache-2.0
"""What a sparse gradient changes, for every optimizer."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import _registry
from slotwise.optimizers._description import Scope
from slotwise.optimizers._signature import sparse_modes

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
    families: tuple[_registry.Family, ...] = ("legacy", "current")
    for api in families:
        for name, cls in sorted(_registry.described(api).items()):
            for options in cls.description.variants:
                scope = cls.description.update(cls(**options)._options()).scope
                for mode in sparse_modes(cls.description):
                    row = {"api": api, "optimizer": name, "options": dict(options), "sparse": mode}
                    matrix.append({**row, **_TOUCHED["rows" if mode == "lazy" else scope]})
    return matrix
