# SPDX-License-Identifier: Apache-2.0
"""optax under jax.jit with donated buffers, on JAX's CPU backend."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from bench.peers.base import Peer
from bench.work.base import DenseWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.ops import Scalar

Values = dict[str, Scalar]


def _transform(op: str, h: Values) -> Any:
    """The optax transformation that computes the same update as the op."""
    import optax

    def adam_epsilon() -> float:
        # optax adds epsilon after dividing sqrt(v) by sqrt(1 - beta2^t), TensorFlow before it.
        return float(h["epsilon"]) / math.sqrt(1 - h["beta2_power"])

    builders: dict[str, Callable[[], Any]] = {
        "ApplyGradientDescent": lambda: optax.sgd(h["alpha"]),
        "ApplyMomentum": lambda: optax.sgd(h["lr"], momentum=h["momentum"]),
        "ApplyAdagrad": lambda: optax.adagrad(h["lr"], eps=0.0),
        "ApplyAdam": lambda: optax.adam(h["lr"], h["beta1"], h["beta2"], adam_epsilon()),
        "ApplyAdaMax": lambda: optax.adamax(h["lr"], h["beta1"], h["beta2"], 0.0),
        "ApplyAdadelta": lambda: optax.adadelta(h["lr"], h["rho"], h["epsilon"]),
        "ApplyRMSProp": lambda: optax.chain(
            optax.scale_by_rms(h["rho"], h["epsilon"]),
            optax.scale_by_learning_rate(h["lr"]),
            optax.trace(h["momentum"]),
        ),
        "ApplyCenteredRMSProp": lambda: optax.chain(
            optax.scale_by_stddev(h["rho"], h["epsilon"]),
            optax.scale_by_learning_rate(h["lr"]),
            optax.trace(h["momentum"]),
        ),
    }
    if op not in builders:
        raise Unsupported("optax has no such update")
    return builders[op]()


# Where optax keeps our slots: the field of its state, the slot, and the factor that makes it ours.
_FIELDS: dict[str, dict[str, tuple[str, float]]] = {
    "ApplyMomentum": {"trace": ("accum", 1.0)},
    "ApplyAdagrad": {"sum_of_squares": ("accum", 1.0)},
    "ApplyAdam": {"mu": ("m", 1.0), "nu": ("v", 1.0)},
    "ApplyAdaMax": {"mu": ("m", 1.0), "nu": ("v", 1.0)},
    "ApplyAdadelta": {"e_g": ("accum", 1.0), "e_x": ("accum_update", 1.0)},
    "ApplyRMSProp": {"nu": ("ms", 1.0), "trace": ("mom", -1.0)},
    "ApplyCenteredRMSProp": {"mu": ("mg", 1.0), "nu": ("ms", 1.0), "trace": ("mom", -1.0)},
}


def _walk(state: Any, visit: Callable[[str, Any], Any]) -> Any:
    """Rebuilds an optax state with every named field passed through ``visit``."""
    if hasattr(state, "_fields"):
        parts = {}
        for field in state._fields:
            value = getattr(state, field)
            nested = isinstance(value, tuple) or hasattr(value, "_fields")
            parts[field] = _walk(value, visit) if nested else visit(field, value)
        return type(state)(**parts)
    if isinstance(state, tuple):
        return tuple(_walk(part, visit) for part in state)
    return state


class Optax(Peer):
    name = "optax"
    modules = ("optax", "jax")
    packages = ("optax", "jax[cpu]")
    distributions = ("optax", "jax", "jaxlib")
    usage = (
        "update and apply_updates in one jitted function, parameters and state donated; "
        "block_until_ready after each call"
    )

    def start(self, threads: int) -> None:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax

        jax.config.update("jax_enable_x64", True)

    def settings(self) -> dict[str, str]:
        return {"threads": "as many as the process may use cores"}

    def common_terms(self, op: str) -> dict[str, float]:
        # optax.adamax adds epsilon at another place than TensorFlow; with 0 they agree.
        return {"epsilon": 0.0} if op == "ApplyAdaMax" else {}

    def dense(self, work: DenseWork) -> Subject:
        import jax
        import jax.numpy as jnp
        import numpy as np
        import optax

        if work.attributes:
            raise Unsupported("only the default attrs are written out for optax")
        name = work.op.name
        transform = _transform(name, work.hyperparameters)
        fields = _FIELDS.get(name, {})
        arrays = work.arrays()
        parameters = [jnp.array(a["var"]) for a in arrays]
        gradients = [jnp.array(a[work.op.gradient]) for a in arrays]

        def start_value(field: str, value: Any) -> Any:
            if field not in fields:
                return value
            slot, factor = fields[field]
            return [jnp.array(a[slot] * a[slot].dtype.type(factor)) for a in arrays]

        state = _walk(transform.init(parameters), start_value)

        def update(p: Any, s: Any, g: Any) -> Any:
            changes, s = transform.update(g, s, p)
            return optax.apply_updates(p, changes), s

        # The statement keeps its values in a dictionary: timeit's globals cannot be rebound.
        box = {"p": parameters, "s": state}
        names = {
            "step": jax.jit(update, donate_argnums=(0, 1)),
            "box": box,
            "g": gradients,
            "block_until_ready": jax.block_until_ready,
        }
        statement = "box['p'], box['s'] = step(box['p'], box['s'], g); block_until_ready(box['p'])"

        def read() -> State:
            kept: dict[str, Any] = {}
            _walk(box["s"], lambda field, value: kept.setdefault(field, value))
            found: State = []
            for i, parameter in enumerate(box["p"]):
                slots = {
                    slot: np.asarray(kept[field][i]) * work.dtype.type(factor)
                    for field, (slot, factor) in fields.items()
                }
                found.append({"var": np.asarray(parameter), **slots})
            return found

        return Subject(statement, names, read)

    def many(self, work: DenseWork) -> Subject:
        return self.dense(work)


PEER = Optax()
