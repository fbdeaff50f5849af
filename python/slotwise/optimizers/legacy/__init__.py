# SPDX-License-Identifier: Apache-2.0
"""The optimizers of ``tf.keras.optimizers.legacy``, and of TensorFlow before 2.11."""

# Written by scripts/make_stub.py.
from slotwise.optimizers.legacy.adadelta import Adadelta
from slotwise.optimizers.legacy.adagrad import Adagrad
from slotwise.optimizers.legacy.adam import Adam
from slotwise.optimizers.legacy.adamax import Adamax
from slotwise.optimizers.legacy.ftrl import Ftrl
from slotwise.optimizers.legacy.nadam import Nadam
from slotwise.optimizers.legacy.optimizer import Optimizer
from slotwise.optimizers.legacy.rmsprop import RMSprop
from slotwise.optimizers.legacy.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "Adamax",
    "Ftrl",
    "Nadam",
    "Optimizer",
    "RMSprop",
]
