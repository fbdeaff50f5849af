# SPDX-License-Identifier: Apache-2.0
"""Keras's own optimizers; see keras_cases.py. Needs TensorFlow and tf_keras."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf
import tf_keras
from support.reference import Array

# Otherwise every sparse Adam is compiled anew.
tf.config.run_functions_eagerly(True)

legacy = tf_keras.optimizers.legacy
schedules = tf_keras.optimizers.schedules
VERSIONS = {"tensorflow": tf.__version__, "tf_keras": tf_keras.__version__}


def optimizer(name: str, kwargs: dict[str, Any], api: str = "legacy") -> Any:
    return getattr(legacy if api == "legacy" else tf_keras.optimizers, name)(**kwargs)


def schedule(name: str, config: dict[str, Any]) -> Any:
    return getattr(schedules, name)(**config)


def variable(array: Array, name: str, constraint: tuple[float, float] | None = None) -> Any:
    def clip(var: Any) -> Any:
        low, high = (tf.cast(limit, var.dtype) for limit in constraint)
        return tf.clip_by_value(var, low, high)

    return tf.Variable(array, name=name, constraint=constraint and clip)


def gradient(array: Array) -> Any:
    return tf.constant(array)


def slices(values: Array, indices: Array, shape: tuple[int, ...]) -> Any:
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices), tf.constant(shape))


def value(weight: Any) -> Array:
    return np.asarray(weight.numpy())
