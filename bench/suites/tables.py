# SPDX-License-Identifier: Apache-2.0
"""Many tables, as click models have them: pooled in one call, and updated in one step."""

from __future__ import annotations

from collections.abc import Sequence

from bench.peers.slotwise import Otherwise
from bench.results.records import Record
from bench.results.views import LIMITS, ROWS_RATE, TIMES, Brief
from bench.suites.bags import PEERS, POOL, BagsSuite, bags_case
from bench.suites.base import Case, Options
from bench.suites.sparse import LAWS
from bench.work.bags import Bags
from bench.work.rows import Batch

NAME = "tables"
ADAGRAD, ADAM = "legacy.Adagrad", "legacy.AdamLazy"
APART = Otherwise("table by table", apart=True)

_TABLES = 26
_SIZES = {"quick": (4096, 64, 512), "full": (100_000, 64, 2048)}  # rows, width, bags of a table
_LENGTHS = (1, 20)
_PEERS = {POOL: PEERS, ADAGRAD: PEERS, ADAM: ("torch",)}
_SMALL, _OF_SMALL = Bags(Batch(1000, 16, 256), tables=_TABLES), (POOL, ADAGRAD)


def _bags(level: str) -> list[Bags]:
    rows, width, bags = _SIZES["quick" if level == "quick" else "full"]
    return [
        Bags(Batch(rows, width, bags * length, law), (length, length), _TABLES)
        for length in _LENGTHS
        for law in (LAWS[:1] if level == "quick" else LAWS)
    ]


class Tables(BagsSuite):
    name = NAME
    title = "Many tables"
    about = (
        f"Rows of {_TABLES} tables pooled by bags, in one call or (torch, which has no such call) "
        "one after the other; one step of Adagrad or lazy Adam on all of them by the gradients of "
        "the bags, the backward pass of peers included. Small tables: in one call, beside a call "
        "of ours for each."
    )
    rank = 7
    asked = "sparse"
    columns = (*TIMES, ROWS_RATE, *LIMITS)

    def cases(self, options: Options) -> list[Case]:
        found: list[Case] = []
        for dtype in options.dtypes or ("float32",):
            for bags in _bags(options.level):
                found += [bags_case(NAME, op, dtype, bags, who) for op, who in _PEERS.items()]
            found += [bags_case(NAME, op, dtype, _SMALL, (), (APART,)) for op in _OF_SMALL]
        return [case for case in found if not options.ops or case.op in options.ops]

    def briefs(self, records: Sequence[Record]) -> list[Brief]:
        large = [r for r in records if r.is_against_peer]
        steps = [r for r in large if r.op != POOL]
        return [
            Brief(f"rows of {_TABLES} tables, pooled", [r for r in large if r.op == POOL], False),
            Brief(f"a step on {_TABLES} tables by gradients of bags", steps, first=False),
        ]


SUITE = Tables()
