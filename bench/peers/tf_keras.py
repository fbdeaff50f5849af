"""Keras 2's legacy Adagrad, which merges the gradients of equal ids, then updates."""

from __future__ import annotations

from bench.contestant import Peer, State, Subject, Unsupported
from bench.peers.tensorflow import PEER as TENSORFLOW
from bench.rows import SparseWork


class TfKeras(Peer):
    name = "tf_keras"
    modules = ("tensorflow", "tf_keras")
    packages = ("tensorflow==2.21.0", "tf_keras==2.21.0")
    distributions = ("tf_keras", "tensorflow")
    usage = (
        "tf_keras.optimizers.legacy.Adagrad, apply_gradients with tf.IndexedSlices made beforehand"
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


PEER = TfKeras()
