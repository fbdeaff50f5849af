# SPDX-License-Identifier: Apache-2.0
"""DeepSpeed's CPU optimizers, compiled by DeepSpeed on first use."""

from __future__ import annotations

import math
from typing import Any

from bench.peers.base import Peer
from bench.work.base import DenseWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.torch_steps import ModelWork, TorchStepWork


class DeepSpeed(Peer):
    name = "deepspeed"
    modules = ("deepspeed", "torch")
    packages = ("deepspeed", "ninja", "setuptools")
    distributions = ("deepspeed", "torch")
    usage = "DeepSpeedCPUAdam and DeepSpeedCPUAdagrad, opt.step(), OpenMP threads as for torch"

    def start(self, threads: int) -> None:
        import torch
        from deepspeed.ops.op_builder import CPUAdamBuilder

        torch.set_num_threads(threads)
        CPUAdamBuilder().load()  # compiles on first use

    def dense(self, work: DenseWork) -> Subject:
        import torch
        from deepspeed.ops.adagrad import DeepSpeedCPUAdagrad
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        h, name = work.hyperparameters, work.op.name
        if name not in ("ApplyAdam", "ApplyAdagradV2") or work.attributes:
            raise Unsupported("DeepSpeed has no such update on the CPU")
        if work.dtype.name == "float64":
            raise Unsupported("DeepSpeed has no float64 kernel")
        dtype = getattr(torch, work.dtype.name)
        parameters, kept = [], []
        for arrays in work.arrays():
            tensors = {
                n: torch.from_numpy(a.astype("float32") if a.dtype.itemsize == 2 else a).to(dtype)
                for n, a in arrays.items()
            }
            parameter = torch.nn.Parameter(tensors["var"])
            parameter.grad = tensors[work.op.gradient]
            parameters.append(parameter)
            kept.append(tensors)

        optimizer: Any
        if name == "ApplyAdam":
            optimizer = DeepSpeedCPUAdam(
                parameters,
                lr=h["lr"],
                betas=(h["beta1"], h["beta2"]),
                # DeepSpeed adds epsilon after the bias correction, TensorFlow before it.
                eps=h["epsilon"] / math.sqrt(1 - h["beta2_power"]),
                adamw_mode=False,
                fp32_optimizer_states=work.dtype.itemsize >= 4,
            )
            slots = {"exp_avg": "m", "exp_avg_sq": "v"}
        else:
            optimizer = DeepSpeedCPUAdagrad(parameters, lr=h["lr"], eps=h["epsilon"])
            slots = {"exp_avg_sq": "accum"}
        for parameter, tensors in zip(parameters, kept, strict=True):
            state = {theirs: tensors[ours] for theirs, ours in slots.items()}
            optimizer.state[parameter].update({"step": 0, **state})

        def state_now() -> State:
            def numpy(tensor: Any) -> Any:
                wide = tensor.detach()
                return (wide.float() if work.dtype.itemsize == 2 else wide).numpy()

            return [
                {"var": numpy(p)}
                | {ours: numpy(optimizer.state[p][theirs]) for theirs, ours in slots.items()}
                for p in parameters
            ]

        return Subject("opt.step()", {"opt": optimizer}, state_now)

    def many(self, work: DenseWork) -> Subject:
        return self.dense(work)

    def in_torch(self, work: TorchStepWork | ModelWork) -> Subject:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        if isinstance(work, ModelWork) or work.optimizer.cls not in ("Adam", "AdamW"):
            raise Unsupported("DeepSpeed has Adam and AdamW on the CPU")
        config = {**work.config, "adamw_mode": work.optimizer.cls == "AdamW"}
        return work.subject(lambda parameters: DeepSpeedCPUAdam(parameters, **config))


PEER = DeepSpeed()
