# SPDX-License-Identifier: Apache-2.0
"""A table whose rows are spread over ranks."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from slotwise import _arguments, _core, _tables
from slotwise._pooling import Bags, Mode, gather_pooled, rows_and_places
from slotwise._tables import Array, RowPlan, rows_now
from slotwise._variable import Variable, own_array
from slotwise.distributed import _parts
from slotwise.distributed._agreement import agree
from slotwise.distributed._checked import Checked
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._found import Found
from slotwise.distributed._local import local
from slotwise.distributed._placement import BUCKETS, Placement
from slotwise.distributed._routing import (
    MERGES,
    HereRoute,
    Merge,
    Parcel,
    Route,
    Wire,
    exchange_all,
)
from slotwise.initializers import Constant, Initializer

_BLOCK = 8 << 20  # bytes of rows that are made, or sent, at a time


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
        placed = hashlib.blake2b(self.placement.owners.tobytes(), digest_size=4).hexdigest()
        self._kind = f"merge={merge} wire={wire} owners={placed}"  # as on all ranks
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

    def __deepcopy__(self, memo: dict[int, Any]) -> ShardedTable:
        made = copy.copy(self)
        memo[id(self)] = made
        made.local = copy.deepcopy(self.local, memo)
        made._asked, made._ahead = self._asked.copy(), []
        parted = _parts.part_of(own_array(self.local))
        assert parted is not None  # as it was declared
        _parts.declare(own_array(made.local), parted)
        return made

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
        (found,) = look_up("lookup", [self], lambda: [(ids, None)])
        return found

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
        (found,) = look_up("lookup_pooled", [self], lambda: [(ids, bags)])
        return found

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
        work: Callable[[], object]
        try:
            work = partial(self._prefetch, op, _core.as_array(op, "ids", ids).copy())
        except (TypeError, ValueError) as error:
            work = partial(ask, op, [self], [None], [], error)
        if isinstance(comm, Checked):
            comm.ahead(work)
        else:  # of others, nothing is known of threads
            work()

    def _prefetch(self, op: str, ids: NDArray[Any]) -> None:
        routes, error = [], None
        try:
            routes.append(self._new_route(op, ids))
        except Exception as found:  # whatever it is, the others are not to wait
            error = found
        (asked,), _ = ask(op, [self], [None], routes, error)
        self._ahead.append(_Prefetched(ids, routes[0], asked))

    def _way(
        self, op: str, ids: Array, bags: Bags | None, ahead: _Prefetched | None
    ) -> tuple[NDArray[Any], Route | HereRoute, Bags | None]:
        """Arguments that fit, which nobody else can change, and the way to rows."""
        array, route = _core.as_array(f"{op} of '{self.name}'", "ids", ids).copy(), None
        if bags is not None and array.ndim != 1:
            raise ValueError(f"{op}: ids: expected shape (n,), got {array.shape}")
        if ahead is None:
            route = self._new_route(op, array)
        elif np.array_equal(ahead.ids, array):
            route = ahead.route
        if bags is not None:
            with self._named(op):
                gather_pooled(np.zeros((self.shape[0], 0), self.dtype), array, *bags)  # to check
            offsets, weights, mode, has_end = bags
            weights = None if weights is None else np.asarray(weights).copy()
            bags = np.asarray(offsets).copy(), weights, mode, has_end
        if route is None:
            raise ValueError(
                f"{op} of '{self.name}': ids: expected those that were prefetched, got others"
            )
        return array, route, bags

    def _new_route(self, op: str, ids: NDArray[Any]) -> Route | HereRoute:
        flat = ids.reshape(-1)
        if self.comm.size == 1:
            what = f"{op} of '{self.name}'"
            return HereRoute(self.placement, self.placement.places_here(flat, what))
        with self._named(op):
            plan = RowPlan(flat, self.shape[0])
        return Route(plan, self.placement)

    @contextmanager
    def _named(self, op: str) -> Iterator[None]:
        """Have errors name the call and the table."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise type(error)(f"{op} of '{self.name}': {error}") from None

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _agree(self, method: str, counts: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        settle(self.comm, method)
        return agree(self.comm, f"{method} of {_described(self)}", self._calls, None, counts)

    # ----- all of it -----------------------------------------------------------------------------

    def to_array(self, rows: ArrayLike | slice | None = None) -> NDArray[Any]:
        """Rows of the table, in the order that is asked for; on every rank.

        Args:
            rows: numbers of rows, or a slice; None for all. Each rank may ask for others.
        """
        try:
            with self._named("to_array"):
                if rows is None or isinstance(rows, slice):
                    rows = np.arange(self.shape[0])[rows or slice(None)]
                wanted = np.asarray(rows)
        except (TypeError, ValueError) as error:  # on this rank: the others are not to wait
            ask("to_array", [self], [None], [], error)
        if wanted.size == 0:
            wanted = wanted.astype(np.int64)
        step = max(1, _BLOCK // max(1, self._row_bytes))
        flat = wanted.reshape(-1)
        found = np.empty((flat.size, *self.shape[1:]), self.dtype)
        rounds = np.zeros((self.comm.size, 1), np.int64) - (-flat.size // step)
        most = int(self._agree("to_array", rounds).max())
        for begin in range(0, most * step, step):
            found[begin : begin + step] = self.lookup(flat[begin : begin + step]).rows
        return found.reshape(*wanted.shape, *self.shape[1:])

    def digest(self) -> str:
        """32 hexadecimal digits of the whole content: the same for any number of ranks."""
        digests = np.zeros((BUCKETS, 16), np.uint8)
        own, here = self.placement, self.local.value
        for bucket in np.flatnonzero(own.owners == self.comm.rank):
            begin = int(own.local_starts[bucket])
            rows = here[begin : begin + int(own.counts[bucket])]
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


# ----- lookups -----------------------------------------------------------------------------------


def _described(table: ShardedTable) -> str:
    return f"'{table.name}' {table.shape} {table.dtype} {table._kind}"


def settle(comm: Communicator, method: str) -> None:
    """Let prefetches end, which count as calls and leave what they have found."""
    if isinstance(comm, Checked):
        comm.settle(method)


def look_up(
    op: str, tables: Sequence[ShardedTable], given: Callable[[], Sequence[tuple[Any, Any]]]
) -> list[Found]:
    """Rows of tables of one communicator.

    Args:
        op: whose errors they are.
        tables: one at least.
        given: returns the ids of each table, and its bags: offsets, weights, mode and
            include_last_offset, or None. What it raises is raised on all ranks.
    """
    comm = tables[0].comm
    settle(comm, op)
    # What was prefetched is for the lookup that begins, whatever comes of that.
    ahead = [table._ahead.pop(0) if table._ahead else None for table in tables]
    ways: list[tuple[NDArray[Any], Route | HereRoute, Bags | None]] = []
    error = None
    try:
        for table, known, (ids, bags) in zip(tables, ahead, given(), strict=True):
            ways.append(table._way(op, ids, bags, known))
    except (TypeError, ValueError) as found:
        error = found
    routes = [route for _, route, _ in ways]
    asked, most = ask(op, tables, ahead, routes, error)
    for table, (places, _) in zip(tables, asked, strict=True):
        table._asked += len(places), len(places) * table._row_bytes
    arrays: list[tuple[NDArray[Any], NDArray[np.int64]]]  # of rows, and of which each id has one
    if comm.size == 1:
        here = zip(tables, asked, strict=True)
        arrays = [rows_and_places(table.local, places) for table, (places, _) in here]
    else:
        parcels = [
            Parcel(rows_now(table.local, places), wanted, route.counts)
            for table, (places, wanted), route in zip(tables, asked, routes, strict=True)
            if isinstance(route, Route)
        ]
        rows = exchange_all(comm, parcels, most)
        numbers = [route.numbers for route in routes if isinstance(route, Route)]
        arrays = [*zip(rows, numbers, strict=True)]
    every = zip(tables, ways, arrays, strict=True)
    return [_found(table, *way, *each) for table, way, each in every]


def _found(
    table: ShardedTable,
    ids: NDArray[Any],
    route: Route | HereRoute,
    bags: Bags | None,
    rows: NDArray[Any],
    numbers: NDArray[np.int64],
) -> Found:
    if bags is not None:
        return Found(table, gather_pooled(rows, numbers, *bags), ids, route, bags)
    found = _core.gather(rows, numbers, None)
    return Found(table, found.reshape(*ids.shape, *table.shape[1:]), ids, route)


def ask(
    op: str,
    tables: Sequence[ShardedTable],
    ahead: Sequence[_Prefetched | None],
    routes: Sequence[Route | HereRoute],
    error: Exception | None,
) -> tuple[list[tuple[NDArray[np.int64], Any]], int]:
    """Tell the owners of rows which are wanted, except where that was done ahead.

    Returns:
        Of each table, the places of rows that are wanted here, and how many by each rank; and the
        bytes of rows that a rank gets of all, at most.

    Raises:
        DistributedError: a rank has an error; on all of them.
    """
    comm = tables[0].comm
    new = [i for i, known in enumerate(ahead) if known is None]
    told = np.zeros((comm.size, 1 + len(new)), np.int64)
    if error is None:
        coming = zip(tables, routes, strict=True)
        told[:, 0] = sum(len(route.places) * table._row_bytes for table, route in coming)
        for column, i in enumerate(new, 1):
            route = routes[i]
            told[:, column] = route.counts if isinstance(route, Route) else 0
    texts = [
        ("" if known is None else "prefetched ") + _described(table)
        for table, known in zip(tables, ahead, strict=True)
    ]
    calls = sum(table._calls for table in tables)
    heard = agree(comm, f"{op} of {', '.join(texts)}", calls, error, told)
    for i in new:
        tables[i]._calls += 1
    most = int(heard[:, 0].max())
    if comm.size == 1:
        return [(route.places, None) for route in routes], most
    parcels = [
        Parcel(routes[i].places, told[:, column], heard[:, column])
        for column, i in enumerate(new, 1)
    ]
    came = iter(zip(exchange_all(comm, parcels, most), heard[:, 1:].T, strict=True))
    return [next(came) if known is None else known.asked for known in ahead], most
