# SPDX-License-Identifier: Apache-2.0
"""PyTorch's optimizers with their fused CPU kernels, or foreach where there is none."""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from bench.measure.ranks import on_ranks
from bench.peers.base import Peer
from bench.work.bags import BagStepWork, PooledWork
from bench.work.base import DenseWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.ops import OPS, Scalar
from bench.work.optimizers import VAR, OptimizerWork, StepWork
from bench.work.ranks import TORCH, RanksWork
from bench.work.rows import RowsWork
from bench.work.torch_steps import FUSED, ModelWork, TorchStepWork, example

Values = dict[str, Scalar]


@dataclass(frozen=True)
class Twin:
    """The torch optimizer that computes the same update as an op.

    ``options`` turns hyperparameters into the constructor's; ``slots`` maps torch's state to our
    slots, ``scale`` says by what torch's slot has to be multiplied to be ours.
    """

    cls: str
    options: Callable[[Values], dict[str, Any]]
    slots: dict[str, str]
    kind: str  # fused, foreach
    scale: Callable[[Values], dict[str, float]] = lambda h: {}


def _adam(h: Values) -> dict[str, Any]:
    # torch adds epsilon after dividing sqrt(v) by sqrt(1 - beta2^t), TensorFlow before it.
    epsilon = h["epsilon"] / math.sqrt(1 - h["beta2_power"])
    return {"lr": h["lr"], "betas": (h["beta1"], h["beta2"]), "eps": epsilon}


# torch adds epsilon at another place than TensorFlow in these; with 0 the updates are the same.
# (Centered RMSProp needs its epsilon, so it has no twin.)
_WITHOUT_EPSILON = ("ApplyAdaMax", "ApplyRMSProp")

TWINS: dict[str, Twin] = {
    "ApplyGradientDescent": Twin("SGD", lambda h: {"lr": h["alpha"]}, {}, "fused"),
    "ApplyMomentum": Twin(
        "SGD",
        lambda h: {"lr": h["lr"], "momentum": h["momentum"]},
        {"momentum_buffer": "accum"},
        "fused",
    ),
    "ApplyAdagradV2": Twin(
        "Adagrad", lambda h: {"lr": h["lr"], "eps": h["epsilon"]}, {"sum": "accum"}, "fused"
    ),
    "ApplyAdam": Twin("Adam", _adam, {"exp_avg": "m", "exp_avg_sq": "v"}, "fused"),
    "ApplyAdamWithAmsgrad": Twin(
        "Adam",
        lambda h: {**_adam(h), "amsgrad": True},
        {"exp_avg": "m", "exp_avg_sq": "v", "max_exp_avg_sq": "vhat"},
        "fused",
    ),
    "ApplyAdadelta": Twin(
        "Adadelta",
        lambda h: {"lr": h["lr"], "rho": h["rho"], "eps": h["epsilon"]},
        {"square_avg": "accum", "acc_delta": "accum_update"},
        "foreach",
    ),
    "ApplyAdaMax": Twin(
        "Adamax",
        lambda h: {"lr": h["lr"], "betas": (h["beta1"], h["beta2"]), "eps": h["epsilon"]},
        {"exp_avg": "m", "exp_inf": "v"},
        "foreach",
    ),
    "ApplyRMSProp": Twin(
        "RMSprop",
        lambda h: {
            "lr": h["lr"],
            "alpha": h["rho"],
            "eps": h["epsilon"],
            "momentum": h["momentum"],
        },
        {"square_avg": "ms", "momentum_buffer": "mom"},
        "foreach",
        lambda h: {"mom": float(h["lr"])},
    ),
}


# By the class of ours, and what it does with a sparse gradient.
SPARSE_TWINS = {
    ("Adam", "lazy"): Twin(
        "SparseAdam",
        lambda c: {
            "lr": c["learning_rate"],
            "betas": (c["beta_1"], c["beta_2"]),
            "eps": c["epsilon"],
        },
        {"exp_avg": "m", "exp_avg_sq": "v"},
        "sparse",
    ),
    ("Adagrad", None): Twin(
        "Adagrad",
        lambda c: {"lr": c["learning_rate"], "eps": c["epsilon"]},
        {"sum": "accumulator"},
        "sparse",
    ),
}


_TRIES = 3


def _faster(optimizer: Any) -> bool:
    """Whether foreach is faster than a loop; leaves the parameters and the state as they were."""
    group = optimizer.param_groups[0]
    before = [parameter.detach().clone() for parameter in group["params"]]
    seconds = {}
    for foreach in (True, False):
        group["foreach"] = foreach
        optimizer.step()
        seconds[foreach] = min(timeit.repeat(optimizer.step, number=1, repeat=_TRIES))
    for parameter, values in zip(group["params"], before, strict=True):
        parameter.data.copy_(values)
    optimizer.state.clear()
    return seconds[True] < seconds[False]


class Torch(Peer):
    name = "torch"
    modules = ("torch",)
    packages = ("torch==2.13.0",)
    distributions = ("torch",)
    usage = (
        "torch.optim, fused=True where there is a CPU kernel, else foreach=True (in PyTorch's own "
        "suite: the faster of foreach=True and False); opt.step(); "
        "coalesce() of a sparse COO tensor made beforehand; SparseAdam and Adagrad on one, or on "
        "that of the backward pass of embedding_bag(sparse=True), which is timed too"
    )

    def start(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.sparse.check_sparse_tensor_invariants.disable()  # as by default, where it warns

    def settings(self) -> dict[str, str]:
        import torch

        return {"threads": str(torch.get_num_threads())}

    def common_terms(self, op: str) -> dict[str, float]:
        return {"epsilon": 0.0} if op in _WITHOUT_EPSILON else {}

    def dense(self, work: DenseWork) -> Subject:
        twin = TWINS.get(work.op.name)
        if twin is None or work.attributes:
            raise Unsupported("torch.optim has no such update")
        return self._subject(work, twin)

    def _subject(self, work: DenseWork, twin: Twin) -> Subject:
        import torch

        values = work.hyperparameters
        dtype = getattr(torch, work.dtype.name)
        scale = twin.scale(values)
        parameters, slots = [], []
        for arrays in work.arrays():
            tensors = {
                n: torch.from_numpy(a.astype("float32") if a.dtype.itemsize == 2 else a).to(dtype)
                for n, a in arrays.items()
            }
            parameter = torch.nn.Parameter(tensors["var"])
            parameter.grad = tensors[work.op.gradient]
            for name, factor in scale.items():
                tensors[name] /= factor
            parameters.append(parameter)
            slots.append({theirs: tensors[ours] for theirs, ours in twin.slots.items()})

        options: dict[str, Any] = {twin.kind: True}
        optimizer = getattr(torch.optim, twin.cls)(parameters, **twin.options(values), **options)
        for parameter, slot in zip(parameters, slots, strict=True):
            # The state of an optimizer that has taken no step yet: bias corrections of step 1.
            optimizer.state[parameter].update(slot)
            optimizer.state[parameter]["step"] = torch.tensor(0.0)

        def numpy(tensor: Any, factor: float = 1.0) -> Any:
            wide = (
                tensor.detach().to(torch.float32) if work.dtype.itemsize == 2 else tensor.detach()
            )
            return wide.numpy() * factor if factor != 1.0 else wide.numpy()

        def state() -> State:
            found = []
            for parameter in parameters:
                kept = optimizer.state[parameter]
                arrays = {
                    ours: numpy(kept[theirs], scale.get(ours, 1.0))
                    for theirs, ours in twin.slots.items()
                }
                found.append({"var": numpy(parameter), **arrays})
            return found

        return Subject("opt.step()", {"opt": optimizer}, state, note=f"{twin.cls}({twin.kind})")

    def many(self, work: DenseWork) -> Subject:
        return self.dense(work)

    def optimizer(self, work: OptimizerWork) -> Subject:
        if work.batch is not None:
            return self._sparse_step(work)
        config = work.config
        decays = work.optimizer.cls == "AdamW"
        is_plain = not work.clips and "use_ema" not in config
        if work.optimizer.cls not in ("Adam", "AdamW") or not is_plain:
            raise Unsupported("only Adam and AdamW on dense gradients are measured")
        adam = TWINS["ApplyAdam"]
        decay = {"weight_decay": config["weight_decay"]} if decays else {}
        twin = replace(adam, cls=work.optimizer.cls, options=lambda h: {**_adam(h), **decay})
        override = {
            "lr": config["learning_rate"],
            "beta1": config["beta_1"],
            "beta2": config["beta_2"],
            "epsilon": config["epsilon"],
            "beta2_power": config["beta_2"],
        }
        dense = DenseWork(
            op=OPS["ApplyAdam"],
            dtype=work.dtype,
            seed=work.seed,
            shapes=work.shapes,
            override=override,
        )
        return self._subject(dense, twin)

    def _sparse_step(self, work: OptimizerWork) -> Subject:
        """An optimizer that takes the gradient of a batch's rows as a sparse COO tensor."""
        import torch

        twin = SPARSE_TWINS.get((work.optimizer.cls, work.config.get("sparse")))
        batch = work.batch
        if twin is None or batch is None:
            raise Unsupported("torch.optim has no such update of rows")
        optimizer, (arrays,) = self._on_tables(work, twin)
        table = optimizer.param_groups[0]["params"][0]
        ids, values = torch.from_numpy(batch.ids[None].copy()), torch.from_numpy(work.gradient())
        table.grad = torch.sparse_coo_tensor(ids, values, table.shape, check_invariants=False)

        def state() -> State:
            return [{name: array[batch.seen] for name, array in arrays.items()}]

        return Subject("opt.step()", {"opt": optimizer}, state, note=twin.cls)

    def _on_tables(self, work: StepWork, twin: Twin) -> tuple[Any, list[dict[str, Any]]]:
        """An optimizer, and var and slots of each table by our names, with start values."""
        import torch

        made, parameters = [], []
        for shape in work.table_shapes:
            made.append({name: work.array(name, shape) for name in (VAR, *twin.slots.values())})
            parameters.append(torch.nn.Parameter(torch.from_numpy(made[-1][VAR])))
        optimizer = getattr(torch.optim, twin.cls)(parameters, **twin.options(work.config))
        for parameter, own in zip(parameters, made, strict=True):
            slots = {theirs: torch.from_numpy(own[ours]) for theirs, ours in twin.slots.items()}
            optimizer.state[parameter].update(slots, step=torch.tensor(0.0))
        return optimizer, made

    def pooled(self, work: PooledWork) -> Subject:
        import torch

        bags = work.bags
        bounds = torch.from_numpy(bags.bounds).int()  # half the bytes: faster than int64
        pools = "embedding_bag({}, mode='sum', include_last_offset=True)"
        each = [
            (torch.from_numpy(ids).int(), torch.from_numpy(table), bounds)
            for ids, table in zip(bags.ids, work.tables(), strict=True)
        ]
        names: dict[str, Any] = {"embedding_bag": torch.nn.functional.embedding_bag, "bags": each}
        statement = f"[{pools.format('*own')} for own in bags]"
        if bags.tables == 1:
            statement = pools.format("ids, table, offsets")
            names |= zip(("ids", "table", "offsets"), each[0], strict=True)

        def state() -> State:
            found = eval(statement, dict(names))
            return work.state([x.numpy() for x in (found if bags.tables > 1 else [found])])

        return Subject(statement, names, state)

    def bag_step(self, work: BagStepWork) -> Subject:
        """The backward pass of embedding_bag(sparse=True), whose forward was done once; a step."""
        import torch

        twin = SPARSE_TWINS.get((work.optimizer.cls, work.config.get("sparse")))
        if twin is None:
            raise Unsupported("torch.optim has no such update of rows")
        bags = work.bags
        optimizer, arrays = self._on_tables(work, twin)
        bounds = torch.from_numpy(bags.bounds.copy())
        pool = partial(
            torch.nn.functional.embedding_bag, mode="sum", sparse=True, include_last_offset=True
        )
        outputs = [
            pool(torch.from_numpy(ids.copy()), table, bounds)
            for ids, table in zip(bags.ids, optimizer.param_groups[0]["params"], strict=True)
        ]
        parts = np.split(work.gradient(), bags.tables, axis=1)
        names = {
            "backward": torch.autograd.backward,
            "outputs": outputs,
            "grads": [torch.from_numpy(np.ascontiguousarray(part)) for part in parts],
            "opt": optimizer,
        }
        statement = "opt.zero_grad(); backward(outputs, grads, retain_graph=True); opt.step()"

        def state() -> State:
            return work.state({name: [own[name] for own in arrays] for name in arrays[0]})

        return Subject(statement, names, state, note=twin.cls)

    def rows(self, work: RowsWork) -> Subject:
        import torch

        ids = torch.from_numpy(work.batch.ids.copy())
        table = torch.from_numpy(work.table())
        names: dict[str, Any] = {"torch": torch, "table": table, "ids": ids}
        if work.call == "coalesce":
            shape = (work.batch.rows, work.batch.width)
            names["grads"] = torch.sparse_coo_tensor(
                ids[None], table, shape, is_coalesced=False, check_invariants=False
            )
            statement = "grads.coalesce()"
        else:
            statement = "torch.index_select(table, 0, ids)"
            if work.out:
                names["out"] = torch.zeros((ids.numel(), work.batch.width))
                statement = "torch.index_select(table, 0, ids, out=out)"

        def arrays(found: Any) -> Any:
            if work.call == "coalesce":
                return found.indices()[0].numpy(), found.values().numpy()
            return found.numpy()

        return work.subject(statement, names, arrays)

    def in_torch(self, work: TorchStepWork | ModelWork) -> Subject:
        import torch

        if isinstance(work, ModelWork):
            dlrm, ids = example(), [len(own) for own in work.batches[0].ids]
            return work.subject(dlrm.torch_alone(work.sizes, dlrm.Rates(), ids))
        cls = work.optimizer.cls

        def make(parameters: list[Any]) -> Any:
            options = {"fused": True} if cls in FUSED and work.batch is None else {}
            optimizer = getattr(torch.optim, cls)(parameters, **work.config, **options)
            if not options and work.batch is None:
                optimizer.param_groups[0]["foreach"] = _faster(optimizer)
            return optimizer

        return work.subject(make, cls)

    def ranks(self, work: RanksWork) -> Subject:
        """As TorchRec spreads a table by rows: see work/torch_ranks.py."""
        return on_ranks(replace(work, engine=TORCH))


PEER = Torch()
