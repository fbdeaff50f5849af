# SPDX-License-Identifier: Apache-2.0
"""`slotwise convert` of what the real tf_keras, Keras 3 and TensorFlow saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras as keras3
import numpy as np
import pytest
import slotwise
import tensorflow as tf
import tf_keras
from slotwise import optimizers
from slotwise.optimizers import legacy
from support.command_line import done, refused, run

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.ones((4, 2), np.float32)


def trained(keras: Any, opt: Any, *layers: Any) -> Any:
    """A model after two steps, with variables that are not trained."""
    keras.utils.set_random_seed(0)
    own = [keras.layers.Dense(4, name="hidden"), keras.layers.BatchNormalization(name="norm")]
    model = keras.Sequential(
        [keras.layers.Input((3,)), *own, *layers, keras.layers.Dense(2, name="out")]
    )
    model.compile(opt, "mse")
    model.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    return model


def convert(*arguments: Any, folder: Path) -> Any:
    """TensorFlow says much on stderr."""
    found = run("convert", *arguments, folder=folder)
    assert found.returncode == 0, found.stderr
    return found


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_tf_keras_goes_on(ending: str, tmp_path: Path) -> None:
    model = trained(tf_keras, tf_keras.optimizers.Adam(0.25, beta_1=0.5))
    model.save(tmp_path / f"m.{ending}")
    convert(f"m.{ending}", "out", folder=tmp_path)
    names = [v.name.removesuffix(":0") for v in model.variables]
    variables = {
        n: slotwise.Variable(np.zeros(v.shape, np.float32), name=n)
        for n, v in zip(names, model.variables, strict=True)
    }
    loaded = slotwise.load(tmp_path / "out", optimizer="saved", variables=variables)
    own = loaded.optimizer
    assert isinstance(own, optimizers.Adam) and int(own.iterations) == 2 and own.beta_1 == 0.5
    for name, theirs in zip(names, model.variables, strict=True):
        np.testing.assert_array_equal(variables[name], theirs)
    theirs = {v.name.removesuffix(":0"): v.numpy() for v in model.optimizer.variables}
    assert np.abs(theirs["Adam/m/hidden/kernel"]).max() > 0
    np.testing.assert_array_equal(
        own.state_dict()["hidden/kernel/m"], theirs["Adam/m/hidden/kernel"]
    )
    np.testing.assert_array_equal(own.state_dict()["out/bias/v"], theirs["Adam/v/out/bias"])
    assert "norm/moving_mean/m" not in own.state_dict()
    grads = [np.ones(v.shape, np.float32) for v in model.trainable_variables]
    model.optimizer.apply_gradients(
        zip(map(tf.constant, grads), model.trainable_variables, strict=True)
    )
    trainable = [variables[v.name.removesuffix(":0")] for v in model.trainable_variables]
    own.apply_gradients(zip(grads, trainable, strict=True))
    for a, b in zip(trainable, model.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


def test_legacy_optimizers(tmp_path: Path) -> None:
    model = trained(tf_keras, tf_keras.optimizers.legacy.Adam(0.25))
    model.save(tmp_path / "m.h5")
    convert("m.h5", "out", folder=tmp_path)
    arrays = slotwise.load(tmp_path / "out").arrays
    slot = model.optimizer.get_slot(model.trainable_variables[0], "v").numpy()
    np.testing.assert_array_equal(arrays["hidden/kernel/v"], slot)
    config = json.loads(done("show", "out", "--json", folder=tmp_path))["config"]
    assert isinstance(optimizers.deserialize(config), legacy.Adam)
    model.save(tmp_path / "m.keras")  # which leaves the state out
    found = convert("m.keras", "bare", folder=tmp_path)
    assert "only a config of an optimizer: it is left out" in found.stderr


def test_keras_3(tmp_path: Path) -> None:
    model = trained(keras3, keras3.optimizers.Adam(0.25))
    model.save(tmp_path / "m.h5")
    convert("m.h5", "out", folder=tmp_path)
    arrays = slotwise.load(tmp_path / "out").arrays
    theirs = {v.path: np.array(v) for v in [*model.variables, *model.optimizer.variables]}
    (kernel,) = [name for name in arrays if name.endswith("hidden/kernel")]
    np.testing.assert_array_equal(arrays[kernel], theirs[kernel])
    slot = next(x for name, x in theirs.items() if name.endswith("hidden_kernel_velocity"))
    np.testing.assert_array_equal(arrays[f"{kernel}/v"], slot)
    assert arrays["learning_rate"] == 0.25 and arrays["iterations"] == 2


def test_models_with_code_are_refused(tmp_path: Path) -> None:
    layer = tf_keras.layers.Lambda(lambda x: x + 1)
    model = trained(tf_keras, tf_keras.optimizers.SGD(0.25), layer)
    for name in ("m.h5", "m.keras"):
        model.save(tmp_path / name)
        text = refused(2, "convert", name, "out", folder=tmp_path)
        assert text == f"{name}: a Lambda layer holds code, which is not run"
    (tmp_path / "x.h5").write_bytes((tmp_path / "m.h5").read_bytes()[:-3000])
    assert "cannot be read" in refused(1, "convert", "x.h5", "out", folder=tmp_path)


@pytest.mark.parametrize("api", ["legacy", "current"])
def test_checkpoints_of_tensorflow(api: str, tmp_path: Path) -> None:
    module = tf_keras.optimizers.legacy if api == "legacy" else tf_keras.optimizers
    model = trained(tf_keras, module.Adam(0.25))
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(tmp_path / "tf" / "c"))
    found = convert("tf", "out", folder=tmp_path)
    assert "_CHECKPOINTABLE_OBJECT_GRAPH" in found.stderr
    arrays = slotwise.load(tmp_path / "out").arrays
    kernel = model.trainable_variables[0]
    np.testing.assert_array_equal(arrays["model/layer_with_weights-0/kernel"], kernel.numpy())
    convert("tf", "bare", "--optimizer", "none", folder=tmp_path)
    names = {*slotwise.load(tmp_path / "bare").arrays}
    assert len(names) == len(model.variables) + 1 and "save_counter" in names
    if api == "current":
        assert "optimizer/_variables/1" in arrays
        return
    slot = model.optimizer.get_slot(kernel, "m").numpy()
    np.testing.assert_array_equal(arrays["model/layer_with_weights-0/kernel/m"], slot)
    convert("tf/c-1", "with", "--optimizer", "legacy.Adam", folder=tmp_path)
    with slotwise.state.Reader(tmp_path / "with") as reader:
        assert int(reader.read("iterations")) == 2
        assert float(reader.read("learning_rate")) == 0.25
        assert "model/layer_with_weights-0/kernel/m" in reader.metadata["state"]
        assert "model/layer_with_weights-0/kernel" in reader.metadata["variables"]
