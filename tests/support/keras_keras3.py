# SPDX-License-Identifier: Apache-2.0
"""Keras 3's optimizers; see keras_cases.py. Needs keras, with TensorFlow."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf
from support.reference import Array

tf.config.run_functions_eagerly(True)


def optimizer(name: str, kwargs: dict[str, Any], api: str = "current") -> Any:
    return getattr(keras.optimizers, name)(**kwargs)


def schedule(name: str, config: dict[str, Any]) -> Any:
    return getattr(keras.optimizers.schedules, name)(**config)


def variable(array: Array, name: str, constraint: tuple[float, float] | None = None) -> Any:
    var = keras.Variable(array, dtype=str(array.dtype), name=name)
    if constraint is not None:
        var.constraint = lambda x: keras.ops.clip(x, *constraint)
    return var


def gradient(array: Array) -> Any:
    return tf.constant(array)


def slices(values: Array, indices: Array, shape: tuple[int, ...]) -> Any:
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices), tf.constant(shape))


def value(weight: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(weight))
