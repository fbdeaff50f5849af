"""What a call costs where the arithmetic is nothing: 64 elements, by keywords."""

from __future__ import annotations

from bench.contestant import Peer, Subject
from bench.suites.base import Case, Options, Suite, chosen_ops
from bench.work import DenseWork


class CallOverhead(Suite):
    name = "call_overhead"
    title = "Cost of a call"
    about = "One call of each op on 64 elements, called by keywords as users write it."

    def cases(self, options: Options) -> list[Case]:
        sizes = (1, 64) if options.level == "full" else (64,)
        dtypes = options.dtypes or ("float32",)
        return [
            Case(self.name, op, d, s) for d in dtypes for s in sizes for op in chosen_ops(options)
        ]

    def subject(self, contestant: Peer, work: DenseWork) -> Subject:
        return contestant.dense(work)


SUITE = CallOverhead()
