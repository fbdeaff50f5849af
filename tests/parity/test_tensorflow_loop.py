# SPDX-License-Identifier: Apache-2.0
"""The loop of docs/keras.md: TensorFlow's gradients, our updates of NumPy weights."""

from __future__ import annotations

import numpy as np
import pytest
import slotwise
import tensorflow as tf


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_loop_of_the_page_trains_as_keras_does() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (64, 5))
    y = (x.mean(1, keepdims=True) / 25 - 1).astype(np.float32)

    def build() -> tf.keras.Model:
        tf.keras.utils.set_random_seed(0)
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(1)]
        )
        model(x)
        return model

    model, theirs = build(), build()
    weights = [v.numpy().copy() for v in model.trainable_variables]
    opt, keras = slotwise.optimizers.Adam(0.01), tf.keras.optimizers.Adam(0.01)
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        opt.apply_gradients(zip(gradients, weights, strict=True))
        for variable, weight in zip(model.trainable_variables, weights, strict=True):
            variable.assign(weight)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((theirs(x) - y) ** 2)
        # Dense ones for Keras, which squares the parts of equal ids one by one.
        dense = map(tf.convert_to_tensor, tape.gradient(loss, theirs.trainable_variables))
        keras.apply_gradients(zip(dense, theirs.trainable_variables, strict=True))
    assert any(isinstance(g, tf.IndexedSlices) for g in gradients)
    for weight, variable in zip(weights, theirs.trainable_variables, strict=True):
        np.testing.assert_allclose(weight, variable.numpy(), rtol=1e-4, atol=1e-6)
