# SPDX-License-Identifier: Apache-2.0
"""A table whose rows are spread over ranks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from slotwise import _arguments, _core, _tables
from slotwise._pooling import Mode, PooledSlices, gather_pooled
from slotwise._tables import Array, IndexedSlices, RowPlan
from slotwise._variable import Variable
from slotwise.distributed import _parts
from slotwise.distributed._agreement import agree
from slotwise.distributed._communicator import Communicator, local
from slotwise.distributed._placement import BUCKETS, Placement
from slotwise.distributed._routing import MERGES, Merge, Route, exchange
from slotwise.initializers import Constant, Initializer

_BLOCK = 8 << 20  # bytes of rows that are made, or sent, at a time


@dataclass(frozen=True)
class RoutedSlices(IndexedSlices):
    """Gradients of the rows of a lookup, which remember the way that they came."""

    route: Route | None = None


class Found:
    """The rows that a lookup found.

    Attributes:
        rows: a row for each id, or a pooled one for each bag.
    """

    def __init__(
        self,
        table: ShardedTable,
        rows: NDArray[Any],
        route: Route,
        bags: tuple[Any, ...] | None = None,
    ) -> None:
        self._table, self.rows, self._route, self._bags = table, rows, route, bags

    def gradient(self, gradients: Array) -> IndexedSlices:
        """The gradient of the table, of the gradients of `rows`: what an optimizer takes.

        Args:
            gradients: of the shape and dtype of `rows`.

        Raises:
            TypeError, ValueError: another shape or dtype.
        """
        op, what = "Found.gradient", "gradients"
        values = _core.as_array(op, what, gradients)
        if values.shape != self.rows.shape:
            raise ValueError(f"{op}: {what}: expected shape {self.rows.shape}, got {values.shape}")
        if values.dtype != self._table.dtype:
            raise TypeError(f"{op}: {what}: expected {self._table.dtype}, got {values.dtype}")
        plan = self._route.plan
        if self._bags is not None:
            offsets, weights, mode, include_last = self._bags
            pooled = PooledSlices(
                values, plan, offsets, weights, mode, self._table.shape, include_last
            )
            values = pooled.values
        return RoutedSlices(values, plan, self._table.shape, self._route)


class ShardedTable:
    """A table whose rows are spread over the ranks of a communicator.

    Row r is in bucket ``reverse(r % 4096)`` (the bits in reverse order), and a rank has a run of
    buckets: neighbouring rows live far from each other, so that ranks have about as much to do,
    however often each row is asked for. All methods are collective, except where they say
    otherwise: all ranks call them, in the same order, with tables of the same names and shapes.

    Args:
        shape: of the whole: ``(rows, ...)``.
        name: what slots, checkpoints and errors call it; initial values depend on it.
        comm: the ranks, as `slotwise.distributed.mpi` gives them; None for this process alone.
        initializer: one of `slotwise.initializers`; a number; an array of the whole, of which each
            rank takes its rows; 0 by default.
        dtype: float16, bfloat16, float32 or float64.
        merge: how gradients of one row are added: ``"exact"``, as if nothing were rounded before
            the end, the same for any number of ranks and any split of a batch; ``"order"``, one by
            one in order of ranks, as one process does it; ``"fast"``, on each rank first, the least
            to send. See docs/distributed.md.
        owners: the rank of each of the 4096 buckets; equal runs by default.
        trainable: as of a `Variable`.

    Attributes:
        local: a `Variable` over the rows of this rank, in stored order (of buckets, then of rows).
        shape, dtype, name, comm, merge: as given.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import numpy as np, slotwise
        >>> comm = slotwise.distributed.local()
        >>> emb = slotwise.ShardedTable((10, 2), name="emb", comm=comm, initializer=1.0)
        >>> opt = slotwise.optimizers.SGD(0.5, sparse="lazy", comm=comm)
        >>> found = emb.lookup(np.array([3, 7, 3]))
        >>> _ = opt.apply_gradients([(found.gradient(np.ones((3, 2), np.float32)), emb)])
        >>> emb.to_array([3, 7, 8])[:, 0].tolist()
        [0.0, 0.5, 1.0]
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        name: str,
        comm: Communicator | None = None,
        initializer: Initializer | float | ArrayLike | None = None,
        dtype: DTypeLike = np.float32,
        merge: Merge = "exact",
        owners: ArrayLike | None = None,
        trainable: bool = True,
    ) -> None:
        op = "ShardedTable"
        self.name = _arguments.text_of(op, "name", name)
        kind = _arguments.dtype_of(op, dtype)
        sizes = _arguments.sizes_of(op, shape)
        if not sizes:
            raise ValueError(f"{op}: shape: expected (rows, ...), got ()")
        if merge not in MERGES:
            raise ValueError(f"{op}: merge: expected one of {MERGES}, got {merge!r}")
        self.comm: Communicator = local() if comm is None else comm
        self.shape, self.merge = sizes, merge
        self.placement = Placement(sizes[0], self._owners(owners), self.comm.size)
        own = _tables.zeroed(op, (self.placement.rows_of(self.comm.rank), *sizes[1:]), kind)
        self._fill(own, initializer)
        self.local = Variable(own, trainable=trainable, name=self.name)
        runs = tuple(self.placement.runs(self.comm.rank))
        _parts.declare(own, _parts.Parted(self.comm, sizes, self.placement, runs))
        self._asked = np.zeros(2, np.int64)  # ids that came to this rank; bytes of rows it sent
        self._calls = 0
        self._ahead: list[tuple[Any, Route, tuple[Any, ...]]] = []

    def _owners(self, owners: ArrayLike | None) -> NDArray[np.int64]:
        size = self.comm.size
        if owners is None:
            return np.arange(BUCKETS) * size // BUCKETS
        found = _arguments.array("ShardedTable", "owners", owners)
        is_ranks = found.shape == (BUCKETS,) and found.dtype.kind in "iu"
        if not is_ranks or found.min() < 0 or found.max() >= size:
            raise ValueError(
                f"ShardedTable: owners: expected {BUCKETS} ranks from 0 to {size - 1}, "
                f"got {_arguments.shown(owners)}"
            )
        return found.astype(np.int64)

    def _fill(self, own: NDArray[Any], initializer: Any) -> None:
        """Give this rank's rows their initial values, some at a time."""
        op, what = "ShardedTable", "initializer"
        if initializer is None or not len(own):
            return
        make = initializer
        if not callable(initializer):
            value = _arguments.array(op, what, initializer)
            if value.ndim == 0:
                make = Constant(float(value))
            elif value.shape != self.shape:
                raise ValueError(f"{op}: {what}: expected shape {self.shape}, got {value.shape}")
            else:
                make = lambda name, rows, shape, dtype: value[rows]  # noqa: E731
        step = max(1, _BLOCK // max(1, own[:1].nbytes))
        rank = self.comm.rank
        for run in self.placement.runs(rank):
            for begin in range(0, run.count, step):
                end = min(begin + step, run.count)
                rows = self.placement.rows_at(np.arange(run.begin + begin, run.begin + end))
                own[run.local + begin : run.local + end] = make(
                    self.name, rows, self.shape[1:], own.dtype
                )

    # ----- what it is ----------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.local.dtype

    @property
    def trainable(self) -> bool:
        return self.local.trainable

    def __repr__(self) -> str:
        of = f"rank {self.comm.rank} of {self.comm.size}"
        return f"<slotwise.ShardedTable '{self.name}' shape={self.shape} dtype={self.dtype} {of}>"

    # ----- rows ----------------------------------------------------------------------------------

    def lookup(self, ids: Array) -> Found:
        """Rows of the table by their ids.

        Args:
            ids: int32 or int64, any shape, each in ``[0, rows)``: those of this rank's share of the
                batch, none too.

        Returns:
            `Found`: ``rows`` of shape ``ids.shape + shape[1:]``, and ``gradient``.

        Raises:
            DistributedError: the ids of a rank do not fit; on all of them.
        """
        array = None
        try:
            array = _core.as_array("lookup", "ids", ids)
            plan = RowPlan(array.reshape(-1), self.shape[0])
        except (TypeError, ValueError) as error:
            self._refuse("lookup", error)
        route, rows = self._fetched("lookup", plan, ids)
        found = route.expand(rows)
        if array is not None and array.ndim != 1:
            found = found.reshape(*array.shape, *self.shape[1:])
        return Found(self, found, route)

    def lookup_pooled(
        self,
        ids: Array,
        offsets: ArrayLike,
        weights: ArrayLike | None = None,
        mode: Mode = "sum",
        include_last_offset: bool = False,
    ) -> Found:
        """Rows pooled by bags, as `slotwise.gather_pooled` does it.

        Args:
            ids, offsets, weights, mode, include_last_offset: as of `slotwise.gather_pooled`.

        Returns:
            `Found`: ``rows`` of shape ``(bags, ...)``, and ``gradient``.

        Raises:
            DistributedError: an argument of a rank does not fit; on all of them.
        """
        bags = offsets, weights, mode, include_last_offset
        try:
            plan = RowPlan(ids, self.shape[0])
            nothing = np.zeros((self.shape[0], 0), self.dtype)
            gather_pooled(nothing, ids, *bags)  # which checks the bags
        except (TypeError, ValueError) as error:
            self._refuse("lookup_pooled", error)
        route, rows = self._fetched("lookup_pooled", plan, ids)
        places = np.empty(len(route.order), np.int64)
        places[route.order] = np.arange(len(route.order))
        pooled = gather_pooled(rows, places[plan.inverse], *bags)
        return Found(self, pooled, route, bags)

    def prefetch(self, ids: Array) -> None:
        """Group and send the ids of the next lookup already.

        Rows are fetched by the lookup itself, so that they are those of that moment.

        Args:
            ids: the very array that the next `lookup` is given.

        Raises:
            DistributedError: the ids of a rank do not fit; on all of them.
        """
        try:
            plan = RowPlan(_core.as_array("prefetch", "ids", ids).reshape(-1), self.shape[0])
        except (TypeError, ValueError) as error:
            self._refuse("prefetch", error)
        route = Route(plan, self.placement)
        self._ahead.append((ids, route, self._asked_for("prefetch", route)))

    def _refuse(self, method: str, error: Exception) -> NoReturn:
        """Raise an error of this rank on all of them."""
        agree(self.comm, self._call(method), self._calls, error)
        raise AssertionError  # `agree` has raised

    def _call(self, method: str) -> str:
        return f"{method} of '{self.name}' {self.shape} {self.dtype}"

    def _asked_for(self, method: str, route: Route) -> tuple[Any, ...]:
        """Tell the owners of rows which are wanted. Returns what they are asked for, and counts."""
        counts = route.counts[:, None]
        wanted = agree(self.comm, self._call(method), self._calls, None, counts)[:, 0]
        self._calls += 1
        return exchange(self.comm, route.places, route.counts, wanted), wanted

    def _fetched(self, method: str, plan: RowPlan, ids: Any) -> tuple[Route, NDArray[Any]]:
        """The rows of the distinct ids, in the route's order."""
        if self._ahead:
            known, route, (places, wanted) = self._ahead.pop(0)
            error = None
            if known is not ids:
                error = ValueError(
                    f"{method} of '{self.name}': ids: expected the array that was prefetched, "
                    "got another"
                )
            agree(self.comm, f"prefetched {self._call(method)}", self._calls, error)
        else:
            route = Route(plan, self.placement)
            places, wanted = self._asked_for(method, route)
        rows = _core.gather(self.local.value, places, None)
        self._asked += len(places), rows.nbytes
        return route, exchange(self.comm, rows, wanted, route.counts)

    # ----- all of it -----------------------------------------------------------------------------

    def to_array(self, rows: ArrayLike | slice | None = None) -> NDArray[Any]:
        """Rows of the table, in the order that is asked for; on every rank.

        Args:
            rows: numbers of rows, or a slice; None for all. Each rank may ask for others.
        """
        if rows is None or isinstance(rows, slice):
            rows = np.arange(self.shape[0])[rows or slice(None)]
        wanted = np.asarray(rows)
        if wanted.size == 0:
            wanted = wanted.astype(np.int64)
        step = max(1, _BLOCK // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))
        flat = wanted.reshape(-1)
        found = np.empty((flat.size, *self.shape[1:]), self.dtype)
        rounds = np.zeros((self.comm.size, 1), np.int64) - (-flat.size // step)
        most = int(agree(self.comm, self._call("to_array"), self._calls, None, rounds).max())
        for begin in range(0, most * step, step):
            found[begin : begin + step] = self.lookup(flat[begin : begin + step]).rows
        return found.reshape(*wanted.shape, *self.shape[1:])

    def digest(self) -> str:
        """32 hexadecimal digits of the whole content: the same for any number of ranks."""
        digests = np.zeros((BUCKETS, 16), np.uint8)
        own = self.placement
        for bucket in np.flatnonzero(own.owners == self.comm.rank):
            begin = int(own.local_starts[bucket])
            rows = self.local.value[begin : begin + int(own.counts[bucket])]
            data = hashlib.blake2b(np.ascontiguousarray(rows).view(np.uint8).data, digest_size=16)
            digests[bucket] = np.frombuffer(data.digest(), np.uint8)
        agree(self.comm, self._call("digest"), self._calls)
        found = np.empty((self.comm.size, *digests.shape), np.uint8)
        self.comm.all_gather(digests, found)
        whole = found[own.owners, np.arange(BUCKETS)]
        return hashlib.blake2b(whole.tobytes(), digest_size=16).hexdigest()

    def balance(self) -> dict[str, list[int]]:
        """What each rank has and had to do: ``rows``, and ``ids`` and ``bytes`` asked of it."""
        agree(self.comm, self._call("balance"), self._calls)
        found = np.empty((self.comm.size, 3), np.int64)
        self.comm.all_gather(np.array([len(self.local), *self._asked]), found)
        return dict(zip(("rows", "ids", "bytes"), found.T.tolist(), strict=True))
