# SPDX-License-Identifier: Apache-2.0
"""What a suite is: cases, the work of each, and what is said of the numbers.

Whatever a report shows of a suite is the suite's own (``Told``), so a new one is one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.measure.in_turn import Plan
from bench.measure.timing import measure_time
from bench.peers.base import Peer
from bench.results.records import Record
from bench.results.told import Told
from bench.work.base import DTYPES, DenseWork, Work
from bench.work.contestant import Subject
from bench.work.ops import OPS, Scalar

LEVELS = ("targets", "quick", "full")


@dataclass(frozen=True)
class Options:
    """What the command line leaves to choose: how much of a suite to run."""

    level: str = "quick"
    ops: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """One row of a suite."""

    suite: str
    op: str
    dtype: str
    size: int
    variant: str = ""
    override: Mapping[str, Scalar] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = ()
    against: tuple[str, ...] | None = None  # the peers that it is for; None: whoever is there
    beside: tuple[Peer, ...] = ()  # other ways of ours

    @property
    def name(self) -> str:
        parts = [self.op, self.variant, self.dtype, str(self.size)]
        return "/".join(part for part in parts if part)

    def work(self, terms: Mapping[str, Scalar] | None = None) -> Work:
        """The inputs, with a peer's common terms in place of the usual hyperparameters."""
        shapes = self.shapes or ((self.size,),)
        override = {**self.override, **(terms or {})}
        return DenseWork(
            op=OPS[self.op], dtype=DTYPES[self.dtype], shapes=shapes, override=override
        )


class Suite(Told):
    """One file per suite in ``bench/suites``, ending in ``SUITE``."""

    method = "dense"  # of the peers: what makes their subjects

    def cases(self, options: Options) -> list[Case]:
        raise NotImplementedError

    def takes(self, peer: Peer) -> bool:
        """Whether the peer has such calls at all."""
        return getattr(type(peer), self.method) is not getattr(Peer, self.method)

    def subject(self, contestant: Peer, work: Work) -> Subject:
        subject: Subject = getattr(contestant, self.method)(contestant.given(work))
        return subject

    def measure(
        self,
        subjects: Mapping[str, Subject],
        work: Work,
        record: Record,
        threads: int,
        plan: Plan,
    ) -> None:
        """Fills the record in, once the results are known to agree; by default with times."""
        measure_time(subjects, work, record, threads, plan, self.limits)


def chosen_ops(options: Options) -> list[str]:
    return [name for name in OPS if not options.ops or name in options.ops]
