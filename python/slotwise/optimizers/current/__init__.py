# SPDX-License-Identifier: Apache-2.0
"""The optimizers of ``tf_keras.optimizers``, TensorFlow's since 2.11, and more.

Use them as `slotwise.optimizers.Adam` and so on.
"""

# Written by scripts/make_stub.py.
from slotwise.optimizers.current.adabelief import AdaBelief
from slotwise.optimizers.current.adadelta import Adadelta
from slotwise.optimizers.current.adafactor import Adafactor
from slotwise.optimizers.current.adagrad import Adagrad
from slotwise.optimizers.current.adam import Adam
from slotwise.optimizers.current.adamax import Adamax
from slotwise.optimizers.current.adamw import AdamW
from slotwise.optimizers.current.ftrl import Ftrl
from slotwise.optimizers.current.lamb import Lamb
from slotwise.optimizers.current.lion import Lion
from slotwise.optimizers.current.nadam import Nadam
from slotwise.optimizers.current.optimizer import Optimizer
from slotwise.optimizers.current.rectifiedadam import RAdam, RectifiedAdam
from slotwise.optimizers.current.rmsprop import RMSprop
from slotwise.optimizers.current.sgd import SGD

__all__ = [
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Nadam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "RectifiedAdam",
]
