"""slotwise itself, called by keywords as its documentation shows."""

from __future__ import annotations

from typing import Any

from bench.contestant import Peer, State, Subject, Unsupported
from bench.results import OURS
from bench.work import DenseWork


def keywords(names: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in names.items())


class Slotwise(Peer):
    name = OURS
    modules = ("slotwise",)
    distributions = ("slotwise",)
    usage = "raw_ops by keywords, NumPy arrays, Python floats as hyperparameters"

    def start(self, threads: int) -> None:
        import slotwise

        slotwise.set_num_threads(threads)

    def settings(self) -> dict[str, str]:
        import slotwise

        return {"threads": str(slotwise.get_num_threads()), "target": slotwise.active_target()}

    def _function(self, work: DenseWork) -> Any:
        from slotwise import raw_ops

        function = getattr(raw_ops, work.op.name, None)
        if function is None:
            raise Unsupported(f"slotwise has no {work.op.name} yet")
        return function

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, "")

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, "for a in tensors: ")

    def _subject(self, work: DenseWork, prefix: str) -> Subject:
        """One call on the only tensor, or a loop of calls over a list of them."""
        function, arrays = self._function(work), work.arrays()
        op, values = work.op, {**work.hyperparameters, **work.attributes}
        names: dict[str, Any] = {op.name: function}
        given: dict[str, str] = {}
        for argument in [*op.arguments, *work.attributes]:
            if argument in values:
                given[argument] = repr(values[argument])
            else:
                given[argument] = f"a[{argument!r}]" if prefix else argument
        if prefix:
            names["tensors"] = arrays
        else:
            names |= arrays[0]
        gradient = op.gradient

        def state() -> State:
            return [{k: v for k, v in a.items() if k != gradient} for a in arrays]

        return Subject(f"{prefix}{op.name}({keywords(given)})", names, state)


PEER = Slotwise()
