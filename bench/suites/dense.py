"""Every dense op on one contiguous array, from a few elements to far beyond the caches."""

from __future__ import annotations

from bench.suites.base import Case, Options, Suite, chosen_ops
from bench.work.base import DTYPES

KI, MI = 1 << 10, 1 << 20

_SIZES = {
    "targets": (16 * KI, 256 * KI, 64 * MI),
    "quick": (64, 16 * KI, 256 * KI, 4 * MI),
    "full": (64, KI, 16 * KI, 256 * KI, 4 * MI, 64 * MI),
}

POW = {"lr_power": -0.6}
POW_VARIANT = "lr_power=-0.6"


class Dense(Suite):
    name = "dense"
    title = "Dense updates"
    about = "One call of each op on one array; all arrays warm from the calls before."
    rank = 1
    limits = True

    def cases(self, options: Options) -> list[Case]:
        level = options.level
        dtypes = options.dtypes or (tuple(DTYPES) if level == "full" else ("float32",))
        sizes = options.sizes or _SIZES[level]
        ops = chosen_ops(options)
        against = ("tensorflow",) if level == "targets" else None
        found = [
            Case(self.name, op, d, s, against=against) for d in dtypes for s in sizes for op in ops
        ]
        if not options.sizes and "ApplyFtrl" in ops and "float32" in dtypes:
            found.append(
                Case(self.name, "ApplyFtrl", "float32", 4 * MI, POW_VARIANT, POW, against=against)
            )
        if level == "targets" and not (options.dtypes or options.sizes):
            found += [
                Case(self.name, op, dtype, 64 * MI, against=())
                for dtype in ("float16", "bfloat16")
                for op in ops
            ]
        return found


SUITE = Dense()
