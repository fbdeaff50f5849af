"""TensorFlow's eager raw ops on resource variables."""

from __future__ import annotations

import os
from typing import Any

from bench.contestant import Peer, State, Subject, Unsupported
from bench.peers.slotwise import keywords
from bench.work import DenseWork


class TensorFlow(Peer):
    name = "tensorflow"
    modules = ("tensorflow",)
    packages = ("tensorflow==2.21.0", "tf_keras==2.21.0")
    distributions = ("tensorflow", "keras", "tf_keras")
    usage = (
        "eager tf.raw_ops.Resource* by keywords; handles, gradients and hyperparameters are made "
        "as tensors beforehand, its fastest use; calls return when the update is done "
        "(synchronous execution)"
    )

    def start(self, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.experimental.set_synchronous_execution(True)

    def settings(self) -> dict[str, str]:
        import tensorflow as tf

        return {
            "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "synchronous": str(tf.config.experimental.get_synchronous_execution()),
        }

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, many=False)

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, many=True)

    def _subject(self, work: DenseWork, many: bool) -> Subject:
        import tensorflow as tf

        op = work.op
        function = f"Resource{op.name}"
        call = getattr(tf.raw_ops, function)
        scalars: dict[str, Any] = {}
        for name, value in work.hyperparameters.items():
            dtype = tf.int64 if name == "global_step" else tf.as_dtype(work.dtype)
            scalars[name] = tf.constant(value, dtype)

        variables, tensors = [], []
        for arrays in work.arrays():
            gradient = tf.constant(arrays.pop(op.gradient))
            own = {name: tf.Variable(array) for name, array in arrays.items()}
            variables.append(own)
            tensors.append({op.gradient: gradient} | {n: v.handle for n, v in own.items()})
        if not variables:
            raise Unsupported("no tensors")

        # An op without a kernel for this dtype says so on its first call. The call is made on
        # variables of its own: the checked ones start from the common inputs.
        trial = {name: tf.Variable(tf.ones([1], tf.as_dtype(work.dtype))) for name in op.updated}
        handles = {name: variable.handle for name, variable in trial.items()}
        one = {op.gradient: tf.ones([1], tf.as_dtype(work.dtype))}
        try:
            call(**handles, **one, **scalars, **work.attributes)
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError) as error:
            if "No OpKernel" not in str(error):
                raise
            raise Unsupported(f"no {work.dtype.name} kernel") from None

        given: dict[str, str] = {}
        for argument in op.arguments:
            per_tensor = many and argument not in scalars
            given[argument] = f"a[{argument!r}]" if per_tensor else argument
        given |= {name: repr(value) for name, value in work.attributes.items()}
        statement = f"{function}({keywords(given)})"
        names = {function: call, **scalars}
        if many:
            statement = f"for a in tensors: {statement}"
            names["tensors"] = tensors
        else:
            names |= tensors[0]

        def state() -> State:
            return [{name: v.numpy() for name, v in own.items()} for own in variables]

        return Subject(statement, names, state, keep=variables)


PEER = TensorFlow()
