# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's eager raw ops on resource variables."""

from __future__ import annotations

import os
from typing import Any

from bench.peers.base import Peer
from bench.peers.slotwise import keywords
from bench.work.base import DenseWork, RuleWork
from bench.work.contestant import State, Subject, Unsupported
from bench.work.rows import RowsWork, SparseWork


class TensorFlow(Peer):
    name = "tensorflow"
    modules = ("tensorflow",)
    packages = ("tensorflow==2.21.0",)
    distributions = ("tensorflow", "keras")
    usage = (
        "eager tf.raw_ops.Resource* by keywords; handles, gradients and hyperparameters are made "
        "as tensors beforehand, its fastest use; calls return when the update is done "
        "(synchronous execution); coalesce is tf.unique and tf.math.unsorted_segment_sum"
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
        scalars = self._scalars(work)
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

    def _scalars(self, work: RuleWork) -> dict[str, Any]:
        import tensorflow as tf

        kinds = {"global_step": tf.int64}
        return {
            name: tf.constant(value, kinds.get(name, tf.as_dtype(work.dtype)))
            for name, value in work.hyperparameters.items()
        }

    def sparse(self, work: SparseWork) -> Subject:
        import tensorflow as tf

        function = f"Resource{work.op.name}"
        call = getattr(tf.raw_ops, function, None)
        if call is None or work.op.per_row:
            raise Unsupported(f"TensorFlow has no {function}")
        if work.duplicates != "sequential":
            raise Unsupported("TensorFlow's ops do not merge equal ids")
        variables = {name: tf.Variable(table) for name, table in work.tables().items()}
        scalars = self._scalars(work)
        names = {n: v.handle for n, v in variables.items()} | scalars
        names |= {"grad": tf.constant(work.gradient()), "ids": tf.constant(work.batch.ids)}
        given = {name: name for name in (*variables, *scalars, "grad")} | {"indices": "ids"}
        seen = tf.constant(work.batch.seen)

        def state() -> State:
            return [{name: tf.gather(v, seen).numpy() for name, v in variables.items()}]

        names[function] = call
        return Subject(f"{function}({keywords(given)})", names, state, keep=variables)

    def rows(self, work: RowsWork) -> Subject:
        import tensorflow as tf

        if work.out:
            raise Unsupported("TensorFlow has no such call on tensors")
        names: dict[str, Any] = {"tf": tf, "ids": tf.constant(work.batch.ids)}
        if work.call == "gather":
            names["table"] = tf.constant(work.table())
            return work.subject("tf.gather(table, ids)", names, lambda found: found.numpy())
        names["grads"] = tf.constant(work.table())
        statement = (
            "unique, inverse = tf.unique(ids); "
            "tf.math.unsorted_segment_sum(grads, inverse, tf.size(unique))"
        )

        def state() -> State:
            unique, inverse = tf.unique(names["ids"])
            sums = tf.math.unsorted_segment_sum(names["grads"], inverse, tf.size(unique))
            return [work.by_id(unique.numpy(), sums.numpy())]

        return Subject(statement, names, state)


PEER = TensorFlow()
