# SPDX-License-Identifier: Apache-2.0
"""The step of an optimizer whose variables are spread over ranks.

What ranks have of a batch is sent to whoever has the rows, or the share of a variable, and summed
there; then each takes an ordinary step of what it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _core, _stateful
from slotwise._identity import Memory, memory_of
from slotwise._names import array_of
from slotwise._pooling import PooledSlices, unexpanded
from slotwise._tables import IndexedSlices, RowPlan
from slotwise._variable import Variable, described
from slotwise.distributed import _dense, _parts
from slotwise.distributed._agreement import agree
from slotwise.distributed._any import any as any_rank
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._dense import Chunk, Shares
from slotwise.distributed._found import route_of, without_route
from slotwise.distributed._placement import BUCKETS
from slotwise.distributed._routing import HereRoute, Parcel, Route, exchange_all, slices
from slotwise.distributed._table import ShardedTable
from slotwise.optimizers import _gradients
from slotwise.optimizers._gradients import Pair

Result = TypeVar("Result")


@dataclass
class _Item:
    """A variable of a step, and what this rank has of its gradient."""

    place: int
    table: ShardedTable | None = None
    counts: NDArray[np.int64] | None = None  # rows for each rank
    here: IndexedSlices | None = None  # all of it, if there is one rank
    ids: NDArray[Any] | None = None  # what is sent
    rows: NDArray[Any] | None = None
    chunk: Chunk | None = None
    variable: Any = None  # that has all its elements here
    parts: NDArray[Any] | None = None  # of a dense gradient

    @property
    def bytes(self) -> int:
        """That are sent of a sparse gradient."""
        return sum(array.nbytes for array in (self.ids, self.rows) if array is not None)


@dataclass
class _Work:
    """A step, as this rank has prepared it."""

    call: str = ""
    pairs: list[Any] = field(default_factory=list)  # those without a gradient
    sparse: list[_Item] = field(default_factory=list)
    dense: list[_Item] = field(default_factory=list)
    shares: int = 1
    new: list[Memory] = field(default_factory=list)  # variables that all are to have alike


class Ranks:
    """What an optimizer does together with others.

    Args:
        comm: the ranks.
    """

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm
        self._chunks: dict[Memory, Chunk] = {}
        self._kept: dict[Memory, Any] = {}  # variables that have sparse gradients: all rows here
        self._alike: set[Memory] = set()  # variables that began alike on all ranks
        self._is_whole: bool | None = None  # whether each rank updates all elements

    def __reduce__(self) -> Any:
        raise TypeError(
            "expected an optimizer of one process, got one with comm: what it shares cannot be "
            "copied; slotwise.save and slotwise.load carry its state over"
        )

    def here(self, optimizer: Any, variable: Any) -> Any:
        """What this rank has of a variable: what the optimizer knows it by."""
        if isinstance(variable, ShardedTable):
            if variable.comm is not self.comm:
                raise ValueError(
                    f"{optimizer._op}: '{variable.name}': expected the optimizer's communicator, "
                    "got a table of another"
                )
            return variable.local
        if self._takes_whole(optimizer, variable) or _is_part(variable):
            return variable
        return self._chunk(variable).local

    def expect(self, pairs: Iterable[Pair]) -> None:
        """Have all rows of variables with sparse gradients here, which are about to be met."""
        for grad, variable in pairs:
            is_small = _gradients.is_slices(grad) and not isinstance(variable, ShardedTable)
            if is_small and _memory(variable) not in self._chunks:
                self._kept[_memory(variable)] = variable

    def whole_of(self, variable: Any) -> Any:
        """The variable that a share is of; any other as it is."""
        shared = (chunk for chunk in self._chunks.values() if chunk.local is variable)
        return next((chunk.whole for chunk in shared), variable)

    def require_same(self, op: str, variables: Iterable[Any]) -> None:
        """Raise on all ranks if they give other variables."""
        wholes = map(self.whole_of, variables)
        names = [_gradients.name_of(whole, place) for place, whole in enumerate(wholes)]
        agree(self.comm, ", ".join([op, *names]))

    def share(self, variables: Iterable[Any]) -> None:
        """Give variables the shares that other ranks have changed, of the same variables."""
        locals_ = {id(variable) for variable in variables}
        chunks = [chunk for chunk in self._chunks.values() if id(chunk.local) in locals_]
        _dense.refresh(self.comm, chunks)

    def share_of(self, variable: Any) -> Any:
        """The share that this rank has of a variable, if it has met that; else the variable."""
        chunk = self._chunks.get(_memory(variable))
        return variable if chunk is None else chunk.local

    def _takes_whole(self, optimizer: Any, variable: Any) -> bool:
        """Whether a dense variable is updated as a whole, everywhere."""
        if self._is_whole is None:
            self._is_whole = _acts_on_whole(optimizer) or _is_clipped(optimizer._limits())
        is_constrained = getattr(variable, "constraint", None) is not None
        return self._is_whole or is_constrained or _memory(variable) in self._kept

    def _chunk(self, variable: Any) -> Chunk:
        key = _memory(variable)
        if key not in self._chunks:
            self._chunks[key] = Chunk(self.comm, _variable(variable))
        return self._chunks[key]

    def all_finite(self, op: str, given: Iterable[Any]) -> bool:
        """Whether the gradients of all ranks are finite; what is no gradient is refused later."""
        try:
            is_finite = _gradients.all_finite(op, [(_values(grad), var) for grad, var in given])
        except (TypeError, ValueError):
            is_finite = True
        return not any_rank(self.comm, not is_finite)

    # ----- a step --------------------------------------------------------------------------------

    def apply(
        self, optimizer: Any, given: Iterable[Any], step: Callable[[list[Pair]], Result]
    ) -> Result:
        """Apply the gradients that all ranks have.

        Args:
            optimizer: whose step it is.
            given: pairs of a gradient and a variable or `ShardedTable`.
            step: takes a step of what this rank has.

        Raises:
            DistributedError: what one rank has does not fit; on all, and nothing was written.
        """
        comm, work, error = self.comm, _Work(), None
        try:
            work = self._prepared(optimizer, given)
        except Exception as found:  # whatever it is, the others are not to wait
            error = found
        told = np.empty((comm.size, 2 + len(work.sparse)), np.int64)
        told[:, 0], told[:, 1] = work.shares, sum(item.bytes for item in work.sparse)
        for column, item in enumerate(work.sparse, 2):
            told[:, column] = 0 if item.counts is None else item.counts
        expected = agree(comm, work.call, optimizer._counted(), error, told)
        self._alike.update(work.new)
        for item in work.sparse:
            if item.variable is not None:
                self._kept[_memory(item.variable)] = item.variable
        try:
            pairs = self._exchanged(work, expected)
            if _is_clipped(optimizer._limits()):
                pairs = self._clipped(optimizer, pairs, work)
            elif _acts_on_whole(optimizer):  # which sum rows themselves, in order
                pairs = [(place, _summed(pair)) for place, pair in pairs]
            pairs = [pair for _, pair in sorted([*pairs, *work.pairs], key=lambda each: each[0])]
            result = step(pairs)
            _dense.refresh(comm, [item.chunk for item in work.dense if item.chunk is not None])
        except BaseException as failure:
            if comm.size > 1:  # the others have gone on: they are not to wait for this one
                comm.abort(f"{type(failure).__name__}: {failure}")
            raise
        return result

    def _prepared(self, optimizer: Any, given: Iterable[Any]) -> _Work:
        """What this rank has, checked, merged and in the order in which it is sent."""
        op, work = optimizer._op, _Work()
        found = _gradients.pairs_of(op, given)
        own: list[Pair] = []
        for place, pair in enumerate(found):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise _arguments.refused(
                    op, f"grads_and_vars[{place}]", "a pair of a gradient and a variable", pair
                )
            grad, variable = pair
            has_shares = isinstance(grad, Shares)
            at = table_here(variable)
            own.append((grad.values if has_shares else without_route(grad), at))
            if _is_part(variable):
                raise ValueError(
                    f"{op}: {described(variable, place)}: expected a ShardedTable, or a variable "
                    "that all ranks have, got a rank's part of one"
                )
        plain = _gradients.accepted(op, own, lists=False)
        if plain:
            _gradients.present(plain)  # which refuses that there is none
        if self._is_whole is False and _is_clipped(optimizer._limits()):
            raise ValueError(
                f"{op}: clipping: expected to be set before the first step, got it after"
            )
        numbers = _stateful.numbers_of(optimizer)
        texts = [f"{type(optimizer).__name__}.apply_gradients"]
        texts += [f"{name}={_number(value)}" for name, value in numbers.items()]
        if self.comm.size > 1:  # one rank has nothing to differ from
            texts.append(f"config={_settings(optimizer.get_config())}")
        for place, ((grad, _), (before, variable)) in enumerate(zip(plain, found, strict=True)):
            is_table = isinstance(variable, ShardedTable)
            name = variable.name if is_table else _gradients.name_of(variable, place)
            name = f"{name} {variable.dtype}"
            shape = tuple(variable.shape)
            if grad is None:
                work.pairs.append((place, (None, self.here(optimizer, variable))))
                texts.append(f"{name} {shape} None")
                continue
            if self.comm.size > 1 and not is_table and _memory(variable) not in self._alike:
                work.new.append(_memory(variable))
                texts.append(f"beginning with {_digest(table_here(variable))}")
            item = _Item(place)
            if isinstance(grad, IndexedSlices):
                self._sparse(optimizer, item, before, grad, variable)
                work.sparse.append(item)
                kind = f" {variable._kind}" if is_table else ""
                texts.append(f"{name} {shape} rows{kind}")
            else:
                self._dense(optimizer, item, before, grad, variable)
                work.dense.append(item)
                texts.append(f"{name} {shape} {'whole' if item.chunk is None else 'shares'}")
        counts = {len(item.parts) for item in work.dense if item.parts is not None}
        if len(counts) > 1:
            raise ValueError(f"{op}: Shares: expected as many parts of each, got {sorted(counts)}")
        work.shares = counts.pop() if counts else 1
        work.call = ", ".join(texts)
        return work

    def _sparse(
        self, optimizer: Any, item: _Item, given: Any, grad: IndexedSlices, variable: Any
    ) -> None:
        op, what = optimizer._op, f"gradient of {_called(variable, item.place)}"
        if not variable.shape:
            raise ValueError(f"{op}: {what}: expected a number, got IndexedSlices")
        rows, shape = variable.shape[0], tuple(variable.shape)
        if isinstance(variable, ShardedTable):
            if _acts_on_whole(optimizer) and not _is_by_rows(optimizer):
                name = type(optimizer).__name__
                raise TypeError(
                    f"{op}: '{variable.name}': expected an optimizer that goes row by row for a "
                    f"ShardedTable, got {name}, whose steps depend on the whole variable"
                )
        elif _memory(variable) in self._chunks:
            raise ValueError(
                f"{op}: {what}: expected an array, as ranks share its elements since it was built, "
                "got IndexedSlices; make it a ShardedTable, or step with them first"
            )
        at = self.here(optimizer, variable) if isinstance(variable, ShardedTable) else variable
        optimizer._require_known(at, op, item.place)
        if grad.dense_shape is not None and tuple(grad.dense_shape) != shape:
            got = tuple(grad.dense_shape)
            raise ValueError(f"{op}: {what}: expected dense_shape {shape}, got {got}")
        if isinstance(grad.indices, RowPlan):
            plan = grad.indices
            if plan.num_rows != rows or plan.skipped:
                raise ValueError(
                    f"{op}: {what}: expected a RowPlan of {rows} rows, got one of "
                    f"{plan.num_rows} that skipped {plan.skipped}"
                )
        if isinstance(variable, ShardedTable) and self.comm.size == 1:
            item.table = variable
            item.here = self._here_alone(op, what, given, grad, variable)
            return
        plan = grad.indices
        if not isinstance(plan, RowPlan):
            try:
                plan = RowPlan(plan, rows)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{op}: {what}: {error}") from None
        _check_rows(op, what, grad, len(plan), shape[1:], at.dtype)
        if not isinstance(variable, ShardedTable):  # all rows are everywhere
            unique, order = plan.unique, np.arange(len(plan.unique))
            item.variable = variable
            values, bags = unexpanded(grad)
            times, item.rows = _core.exact_terms(plan, values, order, bags)
            item.ids = np.repeat(unique, times)
            item.counts = np.full(self.comm.size, len(item.ids))
            return
        item.table = variable
        route = route_of(given, variable)
        if not isinstance(route, Route) or route.plan is not plan:
            route = Route(plan, variable.placement)
        item.counts, item.ids, item.rows = route.merged(grad, variable.merge, variable.wire)

    def _here_alone(
        self, op: str, what: str, given: Any, grad: IndexedSlices, table: ShardedTable
    ) -> IndexedSlices:
        """The gradient of a table that this rank has all of."""
        ids, shape, is_exact = grad.indices, table.local.shape, table.merge == "exact"
        route = route_of(given, table)
        if isinstance(route, HereRoute):
            places = route.places
        else:
            if isinstance(ids, RowPlan):
                ids = ids.unique[ids.inverse]
            places = table.placement.places_here(ids, f"{op}: {what}")
        _check_rows(op, what, grad, len(places), shape[1:], table.dtype)
        if isinstance(grad, PooledSlices) and table.dtype.itemsize >= 4:  # else terms are rounded
            return grad.with_rows(places, shape, is_exact)
        return slices(grad.values, places, shape, is_exact)

    def _dense(
        self, optimizer: Any, item: _Item, given: Any, grad: NDArray[Any], variable: Any
    ) -> None:
        op, what = optimizer._op, f"gradient of {_called(variable, item.place)}"
        shape = tuple(variable.shape)
        if isinstance(variable, ShardedTable):
            raise TypeError(f"{op}: {what}: expected IndexedSlices, got an array")
        has_shares = isinstance(given, Shares)
        if not has_shares:
            grad = grad[np.newaxis]
        if grad.shape[1:] != shape or not len(grad):
            expected = f"(parts, *{shape})" if has_shares else f"{shape}"
            got = grad.shape if has_shares else grad.shape[1:]
            raise ValueError(f"{op}: {what}: expected shape {expected}, got {got}")
        if grad.dtype != variable.dtype:
            raise TypeError(f"{op}: {what}: expected {variable.dtype}, got {grad.dtype}")
        item.parts = grad
        if self._takes_whole(optimizer, variable):
            item.variable = variable
        else:
            item.chunk = self._chunk(variable)
        optimizer._require_known(self.here(optimizer, variable), op, item.place)

    # ----- what is exchanged ---------------------------------------------------------------------

    def _exchanged(self, work: _Work, told: NDArray[np.int64]) -> list[tuple[int, Pair]]:
        """Sums of gradients, for what this rank has."""
        comm, parcels = self.comm, []
        for column, item in enumerate(work.sparse, 2):
            parcels += self._parcels(item, told[:, column])
        came = iter(exchange_all(comm, parcels, int(told[:, 1].max())))
        pairs = [(item.place, _merged(item, came)) for item in work.sparse]
        if not work.dense:
            return pairs
        if comm.size == 1:  # nothing to send
            return [*pairs, *map(self._summed_alone, work.dense)]
        chunks = [item.chunk or Chunk(comm, _variable(item.variable)) for item in work.dense]
        gradients = [item.parts for item in work.dense if item.parts is not None]
        sums = _dense.summed(comm, chunks, gradients, told[:, 0].tolist())
        whole = [place for place, item in enumerate(work.dense) if item.chunk is None]
        if whole:
            full = _dense.gathered(
                comm, [chunks[place] for place in whole], [sums[place] for place in whole]
            )
            for place, grad in zip(whole, full, strict=True):
                sums[place] = grad
        return [*pairs, *map(_with_sum, work.dense, sums)]

    @staticmethod
    def _summed_alone(item: _Item) -> tuple[int, Pair]:
        assert item.parts is not None
        return _with_sum(item, _dense.sum_of(item.parts.reshape(len(item.parts), -1)))

    def _parcels(self, item: _Item, coming: NDArray[np.int64]) -> list[Parcel]:
        """What is sent of a sparse gradient: ids, and rows."""
        if item.here is not None:
            return []
        assert item.ids is not None and item.rows is not None and item.counts is not None
        ids, rows = item.ids, item.rows
        if item.table is None:  # everyone has all rows
            ids, rows = np.tile(ids, self.comm.size), np.concatenate([rows] * self.comm.size)
        return [Parcel(ids, item.counts, coming), Parcel(rows, item.counts, coming)]

    # ----- clipping ------------------------------------------------------------------------------

    def _clipped(
        self, optimizer: Any, pairs: list[tuple[int, Pair]], work: _Work
    ) -> list[tuple[int, Pair]]:
        """Gradients clipped by norms over all ranks; their sums do not depend on how many."""
        limits: Mapping[str, Any] = optimizer._limits()
        tables = {item.place: item.table for item in work.sparse if item.table is not None}
        pairs = [(place, _summed(pair)) for place, pair in pairs]
        values = [_gradients.values_of(grad) for _, (grad, _) in pairs]
        if limits["clipvalue"] is not None:
            values = _core.clip(values, limits["clipvalue"], None, None)
        for norm in ("clipnorm", "global_clipnorm"):
            if limits[norm] is not None:
                sums = self._squares(pairs, values, tables)
                own = (limits[norm], None) if norm == "clipnorm" else (None, limits[norm])
                values = _core.clip(values, None, own[0], own[1], sums)
        return [
            (place, (_gradients.with_values(grad, new), var))
            for (place, (grad, var)), new in zip(pairs, values, strict=True)
        ]

    def _squares(
        self,
        pairs: Sequence[tuple[int, Pair]],
        values: Sequence[NDArray[Any]],
        tables: Mapping[int, ShardedTable],
    ) -> list[float]:
        """The sums of squares of whole gradients: of a table's, by buckets, in their order."""
        by_bucket = np.zeros((len(tables), BUCKETS))
        found: dict[int, float] = {}
        for (place, (grad, _)), rows in zip(pairs, values, strict=True):
            if place not in tables:
                found[place] = _core.sums_of_squares([rows])[0]
                continue
            own = tables[place].placement
            starts = np.where(own.owners == self.comm.rank, own.local_starts, -1)
            buckets = np.flatnonzero(starts >= 0)
            buckets = buckets[np.argsort(starts[buckets], kind="stable")]
            ends = np.searchsorted(grad.indices, starts[buckets] + own.counts[buckets])
            begins = np.searchsorted(grad.indices, starts[buckets])
            has_rows = np.flatnonzero(ends > begins)
            sums = _core.sums_of_squares([rows[begins[i] : ends[i]] for i in has_rows])
            by_bucket[[*tables].index(place), buckets[has_rows]] = sums
        if tables:
            every = np.empty((self.comm.size, *by_bucket.shape))
            self.comm.all_gather(by_bucket, every)
            totals = every.sum(0)  # of which all but one are 0
            for place, buckets in zip(tables, totals, strict=True):
                found[place] = float(np.add.reduce(buckets))
        return [found[place] for place, _ in pairs]


class OnRanks(_stateful.Stateful):
    """What whoever keeps the state of an optimizer asks, of one that may have ranks."""

    _ranks: Ranks | None

    def _communicator(self) -> Any:
        return None if self._ranks is None else self._ranks.comm

    def _share_of(self, variable: Any) -> Any:
        return variable if self._ranks is None else self._ranks.share_of(variable)

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        if self._ranks is not None:
            variables = [self._ranks.here(self, variable) for variable in variables]
            others = [self._ranks.here(self, variable) for variable in others]
        super()._make_slots(variables, others)


def _values(grad: Any) -> Any:
    """A gradient without what is said beside its numbers; 0 for none."""
    if grad is None:
        return np.zeros(())
    return grad.values if isinstance(grad, Shares) else grad


def _variable(given: Any) -> Variable:
    return given if isinstance(given, Variable) else Variable(given)


def _memory(variable: Any) -> Memory:
    return memory_of(array_of(variable))


def _is_part(variable: Any) -> bool:
    array = array_of(variable)
    return isinstance(array, np.ndarray) and _parts.part_of(array) is not None


def table_here(variable: Any) -> Any:
    """The rows of a table that are here; any other variable as it is."""
    return variable.local if isinstance(variable, ShardedTable) else variable


def _with_sum(item: _Item, total: NDArray[Any]) -> tuple[int, Pair]:
    """The gradient of what this rank has of a dense variable."""
    here = item.variable if item.chunk is None else item.chunk.local
    return item.place, (total.reshape(here.shape), here)


def _merged(item: _Item, came: Iterator[NDArray[Any]]) -> Pair:
    """What this rank is to apply of a sparse gradient, of the ids and rows that come next."""
    local = item.variable if item.table is None else item.table.local
    if item.here is not None:
        return item.here, local
    is_exact = item.table is None or item.table.merge == "exact"
    ids, rows = next(came), next(came).astype(local.dtype, copy=False)
    return slices(rows, ids, tuple(local.shape), is_exact), local


def _summed(pair: Pair) -> Pair:
    """A sparse gradient with each row once, in their order."""
    grad, var = pair
    if not isinstance(grad, IndexedSlices):
        return pair
    values, bags = unexpanded(grad)
    is_exact = hasattr(grad, "_is_exact")
    ids, sums, _ = _core.coalesce(grad.indices, values, var.shape[0], is_exact, bags)
    order = np.argsort(ids, kind="stable")
    return IndexedSlices(sums[order], ids[order], grad.dense_shape), var


def _check_rows(
    op: str, what: str, grad: IndexedSlices, ids: int, row: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Whether a gradient has rows of this shape, one for each id; if pooled, for each bag."""
    values, bags = unexpanded(grad)
    shape = (ids if bags is None else len(values), *row)
    if values.shape != shape:
        raise ValueError(f"{op}: {what}: expected values {shape}, got {values.shape}")
    if values.dtype != dtype:
        raise TypeError(f"{op}: {what}: expected {dtype}, got {values.dtype}")


def _acts_on_whole(optimizer: Any) -> bool:
    """Whether a step is more than that of each element, by its own gradient."""
    description = getattr(optimizer, "description", None)
    measures = description is None or description.is_whole
    return measures or optimizer._does_more or not optimizer._is_plain()


def _is_by_rows(optimizer: Any) -> bool:
    """Whether a step goes row by row, as far as anyone knows."""
    description = getattr(optimizer, "description", None)
    has_hooks = optimizer._does_more or any(
        getattr(optimizer, name, None) for name in ("gradient_transformers", "gradient_aggregator")
    )
    return description is not None and not description.is_whole and not has_hooks


def _is_clipped(limits: Mapping[str, Any]) -> bool:
    return any(limit is not None for limit in limits.values())


def _called(variable: Any, place: int) -> str:
    if isinstance(variable, ShardedTable):
        return f"'{variable.name}' (table {place} of shape {variable.shape})"
    return described(variable, place)


def _digest(variable: Any) -> str:
    """Of what a variable has."""
    array = np.ascontiguousarray(variable.value if isinstance(variable, Variable) else variable)
    return hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=8).hexdigest()


def _settings(value: Any) -> str:
    """What an optimizer is set to, as all ranks are to have it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_settings(value[key])}" for key in sorted(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_settings, value))}]"
    is_plain = value is None or isinstance(value, (str, bool, int, float, np.generic))
    return f"{value!r}" if is_plain else type(value).__name__


def _number(value: Any) -> str:
    """A hyperparameter as all ranks are to have it."""
    array = value.value if isinstance(value, Variable) else value
    return repr(array.tolist() if isinstance(array, (np.ndarray, np.generic)) else array)
