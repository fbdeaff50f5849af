"""What a contestant hands to the measuring core, and the base class of every peer."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from bench.work.base import DenseWork
    from bench.work.optimizers import OptimizerWork
    from bench.work.rows import RowsWork, SparseWork
    from bench.work.state import StateWork

State = list[dict[str, NDArray[Any]]]


class Unsupported(Exception):
    """The contestant has no way to do this work; the text says why."""


@dataclass
class Subject:
    """One thing to time: a statement as a user writes it, and the names it uses.

    ``state`` returns var and the slots as NumPy arrays, one dictionary per tensor, after any
    number of runs; a contestant leaves out slots that it keeps in another form. ``repeat``
    replaces the statement's loop where the loop itself is compiled.
    """

    statement: str
    names: dict[str, Any]
    state: Callable[[], State]
    note: str = ""
    repeat: Callable[[int], None] | None = None
    keep: Any = field(default=None, repr=False)


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

    def dense(self, work: DenseWork) -> Subject:
        raise Unsupported(f"{self.name} has no dense updates of arrays")

    def many(self, work: DenseWork) -> Subject:
        raise Unsupported(f"{self.name} has no update of lists of arrays")

    def sparse(self, work: SparseWork) -> Subject:
        raise Unsupported(f"{self.name} has no updates of rows")

    def rows(self, work: RowsWork) -> Subject:
        raise Unsupported(f"{self.name} has no {work.call}")

    def optimizer(self, work: OptimizerWork) -> Subject:
        raise Unsupported(f"{self.name} has no such optimizer")

    def state(self, work: StateWork) -> Subject:
        raise Unsupported(f"{self.name} does not {work.call} arrays")
