"""Plain NumPy, as a user would write the update: ``examples/plain_numpy.py``."""

from __future__ import annotations

from typing import Any

from bench.contestant import Peer, State, Subject, Unsupported
from bench.work import DenseWork
from examples import plain_numpy


class NumPy(Peer):
    name = "numpy"
    modules = ("numpy",)
    distributions = ("numpy",)
    usage = "plain expressions with in-place operators; NumPy runs them on one thread"

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, many=False)

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, many=True)

    def _subject(self, work: DenseWork, many: bool) -> Subject:
        if work.attributes:
            raise Unsupported("plain NumPy is written out for the default attrs only")
        update, arrays = getattr(plain_numpy, work.op.name), work.arrays()
        values = work.hyperparameters
        given = {
            name: repr(values[name]) if name in values else (f"a[{name!r}]" if many else name)
            for name in work.op.arguments
        }
        call = f"update({', '.join(given.values())})"
        names: dict[str, Any] = {"update": update}
        names |= {"tensors": arrays} if many else arrays[0]
        gradient = work.op.gradient

        def state() -> State:
            return [{k: v for k, v in a.items() if k != gradient} for a in arrays]

        return Subject(f"for a in tensors: {call}" if many else call, names, state)


PEER = NumPy()
