# SPDX-License-Identifier: Apache-2.0
"""A table whose rows are spread over ranks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from slotwise import _arguments, _core, _tables
from slotwise._pooling import Mode, PooledSlices, gather_pooled
from slotwise._tables import Array, IndexedSlices, RowPlan
from slotwise._variable import Variable
from slotwise.distributed import _parts
from slotwise.distributed._agreement import agree
from slotwise.distributed._checked import Checked
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._local import local
from slotwise.distributed._placement import BUCKETS, Placement
from slotwise.distributed._routing import MERGES, HereRoute, Merge, Route, Wire, exchange
from slotwise.initializers import Constant, Initializer

_BLOCK = 8 << 20  # bytes of rows that are made, or sent, at a time


class Found:
    """The rows that a lookup found.

    Attributes:
        rows: a row for each id, or a pooled one for each bag.
    """

    def __init__(
        self,
        table: ShardedTable,
        rows: NDArray[Any],
        ids: NDArray[Any],
        route: Route | HereRoute,
        bags: tuple[Any, ...] | None = None,
    ) -> None:
        self._table, self.rows, self._ids, self._route, self._bags = table, rows, ids, route, bags

    def gradient(self, gradients: Array) -> IndexedSlices:
        """The gradient of the table, of the gradients of `rows`: what an optimizer takes.

        Args:
            gradients: of the shape and dtype of `rows`.

        Raises:
            TypeError, ValueError: another shape or dtype.
        """
        op, what, table = "Found.gradient", "gradients", self._table
        values = _core.as_array(op, what, gradients)
        if values.shape != self.rows.shape:
            raise ValueError(f"{op}: {what}: expected shape {self.rows.shape}, got {values.shape}")
        if values.dtype != table.dtype:
            raise TypeError(f"{op}: {what}: expected {table.dtype}, got {values.dtype}")
        ids: Any = self._route.plan if isinstance(self._route, Route) else self._ids.reshape(-1)
        found: IndexedSlices
        if self._bags is None:
            rows = values.reshape(self._ids.size, *table.shape[1:])
            found = IndexedSlices(rows, ids, table.shape)
        else:
            offsets, weights, mode, include_last = self._bags
            found = PooledSlices(values, ids, offsets, weights, mode, table.shape, include_last)
        vars(found)["_route"] = self._route
        return found


def route_of(gradient: Any, table: ShardedTable) -> Route | HereRoute | None:
    """The way that the rows of a gradient came, if a lookup found them in this table."""
    route: Route | HereRoute | None = getattr(gradient, "_route", None)
    return route if route is not None and route.placement is table.placement else None


class _Prefetched(NamedTuple):
    """What is known before a lookup.

    Attributes:
        ids: those that it must be given.
        route: their way.
        asked: what is wanted here, and by whom.
    """

    ids: NDArray[Any]
    route: Route | HereRoute
    asked: tuple[Any, Any]


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
        wire: ``"bfloat16"``: gradients of a float32 table with ``merge="fast"`` are rounded to it
            where they are sent. None, the default: they travel as they are.
        owners: the rank of each of the 4096 buckets; equal runs by default.
        trainable: as of a `Variable`.

    Attributes:
        local: a `Variable` over the rows of this rank, in stored order (of buckets, then of rows).
        shape, dtype, name, comm, merge, wire: as given.

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
        wire: Wire | None = None,
        owners: ArrayLike | None = None,
        trainable: bool = True,
    ) -> None:
        op = "ShardedTable"
        self.name = _arguments.text_of(op, "name", name)
        kind = _arguments.dtype_of(op, dtype)
        if kind not in _arguments.FLOATS:
            raise TypeError(
                f"{op}: dtype: expected float16, bfloat16, float32 or float64, got {kind}"
            )
        sizes = _arguments.sizes_of(op, shape)
        if not sizes:
            raise ValueError(f"{op}: shape: expected (rows, ...), got ()")
        if merge not in MERGES:
            raise ValueError(f"{op}: merge: expected one of {MERGES}, got {merge!r}")
        if wire is not None:
            if wire != "bfloat16":
                raise ValueError(f"{op}: wire: expected 'bfloat16' or None, got {wire!r}")
            if merge != "fast" or kind != np.float32:
                what = f"{op}: wire: expected None, except with merge='fast' for float32"
                raise ValueError(f"{what}, got {wire!r} with merge={merge!r} for {kind}")
        self.comm: Communicator = local() if comm is None else comm
        self.shape, self.merge, self.wire = sizes, merge, wire
        self.placement = Placement(sizes[0], self._owners(owners), self.comm.size)
        own = _tables.zeroed(op, (self.placement.rows_of(self.comm.rank), *sizes[1:]), kind)
        self._fill(own, initializer)
        self.local = Variable(own, trainable=trainable, name=self.name)
        runs = tuple(self.placement.runs(self.comm.rank))
        _parts.declare(own, _parts.Parted(self.comm, sizes, self.placement, runs))
        self._asked = np.zeros(2, np.int64)  # ids that came to this rank; bytes of rows it sent
        self._calls = 0
        self._ahead: list[_Prefetched] = []

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
        op, ahead = "lookup", self._taken_ahead("lookup")
        try:
            array = _core.as_array(op, "ids", ids)
            route = self._route(op, array, ahead)
        except (TypeError, ValueError) as error:
            self._refuse(op, error)
        rows = self._fetched(op, route, ahead)
        if isinstance(route, Route):
            rows = _core.gather(rows, route.numbers, None)
        return Found(self, rows.reshape(*array.shape, *self.shape[1:]), array, route)

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
        op, ahead = "lookup_pooled", self._taken_ahead("lookup_pooled")
        bags = offsets, weights, mode, include_last_offset
        try:
            array = _core.as_array(op, "ids", ids)
            if array.ndim != 1:
                raise ValueError(f"{op}: ids: expected shape (n,), got {array.shape}")
            route = self._route(op, array, ahead)
            gather_pooled(np.zeros((self.shape[0], 0), self.dtype), array, *bags)  # which checks
        except (TypeError, ValueError) as error:
            self._refuse(op, error)
        if isinstance(route, HereRoute):
            self._fetched(op, route, ahead, are_rows_wanted=False)
            pooled = gather_pooled(self.local.value, route.places, *bags)
        else:
            pooled = gather_pooled(self._fetched(op, route, ahead), route.numbers, *bags)
        return Found(self, pooled, array, route, bags)

    def prefetch(self, ids: Array) -> None:
        """Group and send the ids of the next lookup already, while the model computes.

        Processes of MPI and of torch.distributed do that on a thread of their own, and this returns
        at once; the next collective call of any kind waits for it. Rows are fetched by the lookup
        itself, so that they are those of that moment.

        Args:
            ids: what the next `lookup` is given; they are copied.

        Raises:
            DistributedError: the ids of a rank do not fit; on all of them. Where this has returned
                by then, the next collective call raises it.
        """
        op, comm = "prefetch", self.comm
        work: Callable[[], None]
        try:
            work = partial(self._prefetch, op, _core.as_array(op, "ids", ids).copy())
        except (TypeError, ValueError) as error:
            work = partial(self._refuse, op, error)
        if isinstance(comm, Checked):
            comm.ahead(work)
        else:  # of others, nothing is known of threads
            work()

    def _prefetch(self, op: str, ids: NDArray[Any]) -> None:
        try:
            route = self._new_route(op, ids)
        except Exception as error:  # whatever it is, the others are not to wait
            self._refuse(op, error)
        self._ahead.append(_Prefetched(ids, route, self._asked_for(op, route)))

    def _taken_ahead(self, method: str) -> _Prefetched | None:
        """What was prefetched for the lookup that begins, whatever comes of that."""
        self._settle(method)
        return self._ahead.pop(0) if self._ahead else None

    def _settle(self, method: str) -> None:
        """Let a prefetch end, which counts as a call and leaves what it has found."""
        if isinstance(self.comm, Checked):
            self.comm.settle(method)

    def _route(self, op: str, ids: NDArray[Any], ahead: _Prefetched | None) -> Route | HereRoute:
        """The way to rows; that of a prefetch, if it was of these ids."""
        if ahead is not None and np.array_equal(ahead.ids, ids):
            return ahead.route
        return self._new_route(op, ids)

    def _new_route(self, op: str, ids: NDArray[Any]) -> Route | HereRoute:
        flat, what = ids.reshape(-1), f"{op} of '{self.name}'"
        if self.comm.size == 1:
            return HereRoute(self.placement, self.placement.places_here(flat, what))
        try:
            plan = RowPlan(flat, self.shape[0])
        except (TypeError, ValueError) as error:
            raise type(error)(f"{what}: {error}") from None
        return Route(plan, self.placement)

    def _refuse(self, method: str, error: Exception) -> NoReturn:
        """Raise an error of this rank on all of them."""
        self._agree(method, error)
        raise AssertionError  # `agree` has raised

    def _agree(
        self,
        method: str,
        error: Exception | None = None,
        counts: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        self._settle(method)
        call = f"{method} of '{self.name}' {self.shape} {self.dtype}"
        return agree(self.comm, call, self._calls, error, counts)

    def _asked_for(self, method: str, route: Route | HereRoute) -> tuple[Any, Any]:
        """Tell the owners of rows which are wanted. Returns what is wanted here, and by whom."""
        counts = None if isinstance(route, HereRoute) else route.counts[:, None]
        told = self._agree(method, None, counts)
        self._calls += 1
        if isinstance(route, HereRoute):
            return route.places, None
        return exchange(self.comm, route.places, route.counts, told[:, 0]), told[:, 0]

    def _fetched(
        self,
        method: str,
        route: Route | HereRoute,
        ahead: _Prefetched | None,
        are_rows_wanted: bool = True,
    ) -> NDArray[Any]:
        """The rows of the route, in its order."""
        if ahead is not None:
            error, asked = None, ahead.asked
            if ahead.route is not route:
                error = ValueError(
                    f"{method} of '{self.name}': ids: expected those that were prefetched, got "
                    "others"
                )
            self._agree(f"prefetched {method}", error)
        else:
            asked = self._asked_for(method, route)
        places, wanted = asked
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._asked += len(places), len(places) * size
        if not are_rows_wanted:
            return self.local.value[:0]
        rows = _core.gather(self.local.value, places, None)
        if isinstance(route, HereRoute):
            return rows
        return exchange(self.comm, rows, wanted, route.counts)

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
        most = int(self._agree("to_array", None, rounds).max())
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
        self._agree("digest")
        found = np.empty((self.comm.size, *digests.shape), np.uint8)
        self.comm.all_gather(digests, found)
        whole = found[own.owners, np.arange(BUCKETS)]
        return hashlib.blake2b(whole.tobytes(), digest_size=16).hexdigest()

    def balance(self) -> dict[str, list[int]]:
        """What each rank has and had to do: ``rows``, and ``ids`` and ``bytes`` asked of it."""
        self._agree("balance")
        found = np.empty((self.comm.size, 3), np.int64)
        self.comm.all_gather(np.array([len(self.local), *self._asked]), found)
        return dict(zip(("rows", "ids", "bytes"), found.T.tolist(), strict=True))
