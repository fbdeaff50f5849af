# SPDX-License-Identifier: Apache-2.0
"""The base class of every peer."""

from __future__ import annotations

import importlib.util
from importlib import metadata

from bench.work.bags import BagStepWork, PooledWork
from bench.work.base import DenseWork, Work
from bench.work.contestant import Subject, Unsupported
from bench.work.optimizers import OptimizerWork, TurnsWork
from bench.work.ranks import RanksWork
from bench.work.rows import RowsWork, SparseWork
from bench.work.state import StateWork
from bench.work.torch_steps import ModelWork, TorchStepWork


class Peer:
    """A library that does the same work. One file in ``bench/peers`` per peer, ending in ``PEER``.

    A method that a peer does not override says that it cannot take part in that suite.
    """

    name = ""
    modules: tuple[str, ...] = ()  # what must be importable
    packages: tuple[str, ...] = ()  # what --install-peers installs
    distributions: tuple[str, ...] = ()  # whose versions are recorded
    usage = ""  # how it is used, one sentence for the report

    def missing(self) -> str | None:
        """Why the peer cannot be used here, or None."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed"
        return None

    def start(self, threads: int) -> None:
        """Imports the library and sets its number of threads; called once, before any work."""

    def versions(self) -> dict[str, str]:
        found = {}
        for name in self.distributions:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "?"
        return found

    def settings(self) -> dict[str, str]:
        """Settings worth storing with the numbers (threads, execution mode)."""
        return {}

    def common_terms(self, op: str) -> dict[str, float]:
        """Hyperparameters under which the peer computes the same update as the op."""
        return {}

    def given(self, work: Work) -> Work:
        """The work as this one does it."""
        return work

    def dense(self, work: DenseWork) -> Subject:
        raise Unsupported(f"{self.name} has no dense updates of arrays")

    def many(self, work: DenseWork) -> Subject:
        raise Unsupported(f"{self.name} has no update of lists of arrays")

    def sparse(self, work: SparseWork) -> Subject:
        raise Unsupported(f"{self.name} has no updates of rows")

    def rows(self, work: RowsWork) -> Subject:
        raise Unsupported(f"{self.name} has no {work.call}")

    def pooled(self, work: PooledWork) -> Subject:
        raise Unsupported(f"{self.name} has no bags")

    def bag_step(self, work: BagStepWork) -> Subject:
        raise Unsupported(f"{self.name} has no gradients of bags")

    def optimizer(self, work: OptimizerWork) -> Subject:
        raise Unsupported(f"{self.name} has no such optimizer")

    def turns(self, work: TurnsWork) -> Subject:
        raise Unsupported(f"{self.name} has no such optimizer")

    def in_torch(self, work: TorchStepWork | ModelWork) -> Subject:
        raise Unsupported(f"{self.name} has no optimizer for PyTorch")

    def ranks(self, work: RanksWork) -> Subject:
        raise Unsupported(f"{self.name} has no tables over ranks")

    def state(self, work: StateWork) -> Subject:
        raise Unsupported(f"{self.name} does not {work.call} arrays")
