"""Merged Adagrad over the width of a row and the skew of the ids."""

from __future__ import annotations

from bench.suites.base import Case, Options
from bench.suites.sparse import MERGE, Sparse, merged
from bench.work.rows import Batch

_ROWS, _IDS = 1 << 20, 1 << 16
_WIDTHS = {"quick": (4, 32, 256), "full": (1, 2, 4, 8, 16, 32, 64, 128, 256)}
_LAWS = {"quick": (None, 1.2), "full": (None, 1.05, 1.2, 1.5)}


class Sweep(Sparse):
    name = "sweep"
    title = "Width and skew"
    about = (
        "Adagrad that merges equal ids, on 1 Mi rows by batches of 64 Ki ids: how many rows of the "
        "gradient it takes per second."
    )
    rank = 6

    def cases(self, options: Options) -> list[Case]:
        if options.level == "targets" or (options.ops and MERGE not in options.ops):
            return []
        level = options.level
        return [
            merged(self.name, MERGE, dtype, Batch(_ROWS, width, _IDS, law), ("tf_keras", "fbgemm"))
            for dtype in options.dtypes or ("float32",)
            for law in _LAWS[level]
            for width in _WIDTHS[level]
        ]


SUITE = Sweep()
