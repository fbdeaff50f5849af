# SPDX-License-Identifier: Apache-2.0
"""Keras 2's optimizers, which merge the gradients of equal ids, then update."""

from __future__ import annotations

from typing import Any

from bench.peers.base import Peer
from bench.peers.tensorflow import PEER as TENSORFLOW
from bench.work.contestant import State, Subject, Unsupported
from bench.work.optimizers import GRADIENT, VAR, OptimizerWork, TurnsWork
from bench.work.rows import SparseWork


class TfKeras(Peer):
    name = "tf_keras"
    modules = ("tensorflow", "tf_keras")
    packages = ("tensorflow==2.21.0", "tf_keras==2.21.0")
    distributions = ("tf_keras", "tensorflow")
    usage = (
        "tf_keras.optimizers and .legacy, eager apply_gradients with tf.constant or "
        "tf.IndexedSlices made beforehand"
    )

    def start(self, threads: int) -> None:
        TENSORFLOW.start(threads)
        import tf_keras  # noqa: F401

    def settings(self) -> dict[str, str]:
        return TENSORFLOW.settings()

    def sparse(self, work: SparseWork) -> Subject:
        import tensorflow as tf
        import tf_keras

        if work.op.name != "SparseApplyAdagradV2" or work.duplicates != "sum":
            raise Unsupported("only Adagrad that merges equal ids is measured")
        tables, h = work.tables(), work.hyperparameters
        var = tf.Variable(tables["var"])
        opt = tf_keras.optimizers.legacy.Adagrad(
            h["lr"], initial_accumulator_value=1.0, epsilon=h["epsilon"]
        )
        nothing = tf.IndexedSlices(tf.zeros((0, work.batch.width)), tf.zeros(0, tf.int64))
        opt.apply_gradients([(nothing, var)])  # makes the slot
        accum = opt.get_slot(var, "accumulator")
        accum.assign(tables["accum"])
        grad = tf.IndexedSlices(tf.constant(work.gradient()), tf.constant(work.batch.ids))
        seen = tf.constant(work.batch.seen)

        def state() -> State:
            return [{"var": tf.gather(var, seen).numpy(), "accum": tf.gather(accum, seen).numpy()}]

        names = {"opt": opt, "grad": grad, "var": var}
        return Subject("opt.apply_gradients([(grad, var)])", names, state)

    def optimizer(self, work: OptimizerWork) -> Subject:
        import tensorflow as tf

        tables, opt, arrays = self._made(work)
        if work.batch is None:
            grads: list[Any] = [tf.constant(work.array(GRADIENT, shape)) for shape in work.shapes]
        else:
            ids, seen = tf.constant(work.batch.ids), tf.constant(work.batch.seen)
            shape = tf.constant(work.table_shapes[0])
            grads = [tf.IndexedSlices(tf.constant(work.gradient()), ids, shape)]
        names = {"opt": opt, "pairs": list(zip(grads, tables, strict=True))}

        def state() -> State:
            if work.batch is None:
                return [{name: array.numpy() for name, array in a.items()} for a in arrays]
            return [{n: tf.gather(array, seen).numpy() for n, array in a.items()} for a in arrays]

        return Subject("opt.apply_gradients(pairs)", names, state)

    def turns(self, work: TurnsWork) -> Subject:
        import tensorflow as tf

        assert work.batch is not None
        (table,), opt, (arrays,) = self._made(work)
        seen, ids = tf.constant(work.batch.seen), work.batch.in_turn(work.batches)
        names = {
            **{"gather": tf.gather, "IndexedSlices": tf.IndexedSlices, "opt": opt, "table": table},
            **{"grads": tf.constant(work.gradient()), "shape": tf.constant(table.shape)},
            "batches": map(tf.constant, ids),
        }
        step = "opt.apply_gradients([(IndexedSlices(grads, ids, shape), table)])"

        def state() -> State:
            return [{name: tf.gather(array, seen).numpy() for name, array in arrays.items()}]

        return Subject(f"ids = next(batches); gather(table, ids); {step}", names, state)

    def _made(self, work: OptimizerWork) -> tuple[list[Any], Any, list[dict[str, Any]]]:
        """Variables, an optimizer, and each variable with its slots by name."""
        import tensorflow as tf
        import tf_keras

        tables = [
            tf.Variable(work.array(VAR, shape), name=f"var{i}")
            for i, shape in enumerate(work.table_shapes)
        ]
        opt, arrays = work.optimizer.make(tf_keras.optimizers, work.config, tables)
        for own in arrays:
            for name in work.optimizer.slots:
                own[name].assign(work.array(name, own[name].shape))
        return tables, opt, arrays


PEER = TfKeras()
