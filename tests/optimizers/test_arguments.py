# SPDX-License-Identifier: Apache-2.0
"""What constructors accept, keep and refuse: every argument of every class by its kind."""

from __future__ import annotations

import inspect
import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from hypothesis import given, settings
from hypothesis import strategies as st
from slotwise import Variable, optimizers
from slotwise.optimizers import LossScaleOptimizer, legacy, schedules

CURRENT = [getattr(optimizers, name) for name in optimizers.__all__ if name != "Optimizer"]
CURRENT = [cls for cls in CURRENT if isinstance(cls, type) and cls is not LossScaleOptimizer]
LEGACY = [getattr(legacy, name) for name in legacy.__all__ if name != "Optimizer"]
SCHEDULES: dict[type[Any], dict[str, Any]] = {
    schedules.CosineDecay: {"initial_learning_rate": 0.1, "decay_steps": 10},
    schedules.CosineDecayRestarts: {"initial_learning_rate": 0.1, "first_decay_steps": 10},
    schedules.ExponentialDecay: {
        "initial_learning_rate": 0.1,
        "decay_steps": 10,
        "decay_rate": 0.5,
    },
    schedules.InverseTimeDecay: {
        "initial_learning_rate": 0.1,
        "decay_steps": 10,
        "decay_rate": 0.5,
    },
    schedules.PiecewiseConstantDecay: {"boundaries": [5], "values": [1.0, 0.5]},
    schedules.PolynomialDecay: {"initial_learning_rate": 0.1, "decay_steps": 10},
}
OF_LEGACY = ("clipnorm", "clipvalue", "global_clipnorm", "decay", "lr")
OF_LEGACY_ONLY = (*OF_LEGACY, "gradient_aggregator", "gradient_transformers")
ANY_CALLABLE = ("gradient_aggregator",)
every_optimizer = pytest.mark.parametrize(
    "cls", [*CURRENT, *LEGACY], ids=lambda cls: f"{cls.__module__.split('.')[2]}.{cls.__name__}"
)
every_schedule = pytest.mark.parametrize("cls", SCHEDULES, ids=lambda cls: cls.__name__)


class Rate(schedules.LearningRateSchedule):
    """What `result` is, at any step."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self, step: Any) -> Any:
        return self.result


# What no argument takes, whatever its kind is.
NEVER: tuple[Any, ...] = (
    *(math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf"), 1e39, 10**400),
    *(1j, np.complex64(1), b"1", object(), {"a": 1}, np.ones((2, 2)), Variable(np.ones(3))),
    *(np.datetime64("2020-01-01"), np.array(["a"]), int, Rate, ..., range),
)
# What some kinds take, and others must not.
SOMETIMES: tuple[Any, ...] = (
    *("1e-3", "0.5", "False", "true", "", "keras", "text"),
    *(None, True, False, np.True_, np.False_, np.array(True)),
    *([0.1], (0.1,), [], ["a"], {0.5}, np.array([0.5]), np.array([1, 2])),
    *(len, lambda: 0.5, lambda step: 0.1, Rate(0.1), schedules.CosineDecay(0.1, 10)),
    *(0, 1, 2, -1, 0.5, -0.5, 7.0, 2.5, np.float32(0.5), np.float64(0.5), np.int64(3), np.uint8(1)),
    *(np.array(0.5), np.array(1, np.int32), Variable(0.5), Fraction(1, 2), Decimal("0.5")),
    *(ml_dtypes.bfloat16(0.5), np.float16(0.5), np.longdouble(0.5)),
)


def arguments_of(cls: type[Any]) -> Iterator[str]:
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            yield parameter.name
        elif issubclass(cls, legacy.Optimizer):
            yield from OF_LEGACY_ONLY


def outcome(make: Callable[[], Any]) -> Any:
    """What was made, or the error."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        return error


def stepped(optimizer: Any) -> Any:
    var = Variable(np.full(3, 0.5), name="w")
    optimizer.apply_gradients([(np.array([1.0, -2.0, 3.0]), var)])
    return var.numpy()


def assert_named(error: Exception, cls: type[Any], name: str) -> None:
    """The error says which argument, and what was expected."""
    assert re.search(rf"\b{name}\b|LearningRateSchedule", str(error)), error
    ours = re.match(rf"{cls.__name__}: {name}\S*: expected .*, got ", str(error))
    keras = re.search(r"eceived|must be|`|expected an|does not support", str(error))
    assert ours or keras, error


@every_optimizer
@pytest.mark.filterwarnings("ignore::UserWarning")  # of lr
def test_each_argument_of_an_optimizer_is_checked_or_works(cls: type[Any]) -> None:
    for name in arguments_of(cls):
        for value in (*NEVER, *SOMETIMES):
            made = outcome(lambda name=name, value=value: cls(**{name: value}))
            if isinstance(made, Exception):
                assert_named(made, cls, name)
                continue
            assert not any(value is bad for bad in NEVER) or name in ANY_CALLABLE, (name, value)
            if inspect.isroutine(value) or name in ANY_CALLABLE:
                continue  # what it returns is checked when it is asked
            assert np.isfinite(stepped(made)).all(), (name, value)
            config = made.get_config()
            plain = json.loads(json.dumps(config, allow_nan=False))
            if not isinstance(value, Rate):
                assert cls.from_config(plain).get_config() == config


@every_schedule
def test_each_argument_of_a_schedule_is_checked_or_works(cls: type[Any]) -> None:
    for name in arguments_of(cls):
        for value in (*NEVER, *SOMETIMES):
            arguments = {**SCHEDULES[cls], name: value}
            made = outcome(lambda arguments=arguments: cls(**arguments))
            if isinstance(made, Exception):
                assert_named(made, cls, name)
                continue
            assert not any(value is bad for bad in NEVER), (name, value)
            config = made.get_config()
            assert cls.from_config(json.loads(json.dumps(config))).get_config() == config
            if name not in ("decay_rate", "power", "t_mul"):  # where any number may overflow
                assert all(np.isfinite(made(step)) for step in (0, 1, 5, 9))


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_each_argument_of_loss_scaling_is_checked_or_works(api: Any) -> None:
    for name in ("dynamic", "initial_scale", "dynamic_growth_steps"):
        for value in (*NEVER, *SOMETIMES):
            arguments = {"initial_scale": 2.0, name: value}
            made = outcome(lambda a=arguments: LossScaleOptimizer(api.SGD(), **a))
            if isinstance(made, Exception):
                assert_named(made, LossScaleOptimizer, name)
                continue
            assert not any(value is bad for bad in NEVER), (name, value)
            json.dumps(made.get_config(), allow_nan=False)
            made.get_unscaled_gradients([])
            made.get_scaled_loss(1.0)
            assert np.isfinite(stepped(made)).all()


def test_each_argument_of_the_manager_is_checked_or_works(tmp_path: Path) -> None:
    for value in (*NEVER, *SOMETIMES):
        made = outcome(lambda value=value: slotwise.CheckpointManager(tmp_path, value))
        if isinstance(made, Exception):
            assert_named(made, slotwise.CheckpointManager, "max_to_keep")
        else:
            assert value is None or value in (1, 2, 3, 7), value
            assert not any(value is bad for bad in (*NEVER, True, np.True_))
        made = outcome(lambda value=value: slotwise.CheckpointManager(value))
        assert isinstance(made, Exception) != isinstance(value, str)
        if isinstance(made, Exception):
            assert_named(made, slotwise.CheckpointManager, "folder")


@given(st.floats(-1e3, 1e3), st.sampled_from([float, np.float32, np.float64, np.float16, np.array]))
@settings(max_examples=200, deadline=None)
def test_numbers_are_kept(number: float, kind: Any) -> None:
    value = kind(number)
    for cls in (optimizers.SGD, legacy.SGD):
        opt = cls(value, clipnorm=np.abs(value))
        assert opt.get_config()["learning_rate"] == float(value)
        assert opt.get_config()["clipnorm"] == abs(float(value))
        assert float(opt.learning_rate) == np.float32(float(value)) or cls is legacy.SGD
        assert opt.get_config()["learning_rate"] == pytest.approx(float(value))
        again = cls.from_config(json.loads(json.dumps(opt.get_config())))
        assert np.float32(again.learning_rate) == np.float32(float(value))
    config = schedules.CosineDecay(value, 10).get_config()
    assert json.loads(json.dumps(config))["initial_learning_rate"] == float(value)


# ----- what errors say ---------------------------------------------------------------------------

TEXTS: tuple[tuple[Callable[[], Any], type[Exception], str], ...] = (
    (
        lambda: optimizers.Adam("1e-3"),
        TypeError,
        "Adam: learning_rate: expected a number or a schedule, got '1e-3', which is text; pass "
        "float('1e-3')",
    ),
    (
        lambda: optimizers.Adam(amsgrad="False"),
        TypeError,
        "Adam: amsgrad: expected True or False, got 'False', which is text; pass False",
    ),
    (
        lambda: legacy.SGD(clipvalue="1.0"),
        TypeError,
        "SGD: clipvalue: expected a number of at least 0 or None, got '1.0', which is text; pass "
        "float('1.0')",
    ),
    (lambda: optimizers.Adam(True), TypeError, "expected a number or a schedule, got True"),
    (lambda: optimizers.Adam(np.inf), ValueError, "learning_rate: expected a finite number"),
    (
        lambda: optimizers.AdamW(weight_decay=lambda: 0.1),
        TypeError,
        "AdamW: weight_decay: expected a number or None, got a function",
    ),
    (
        lambda: optimizers.AdamW(weight_decay=schedules.CosineDecay(0.1, 10)),
        TypeError,
        "AdamW: weight_decay: expected a number or None, got the schedule CosineDecay",
    ),
    (
        lambda: legacy.SGD(schedules.CosineDecay),
        TypeError,
        "expected a number or a schedule, got the class CosineDecay",
    ),
    (
        lambda: legacy.SGD(momentum=schedules.CosineDecay(0.1, 10)),
        TypeError,
        "SGD: momentum: expected a number of at least 0 and up to 1, got the schedule CosineDecay",
    ),
    (
        lambda: schedules.CosineDecay(0.1, -2),
        ValueError,
        "CosineDecay: decay_steps: expected a number above 0, got -2",
    ),
    (
        lambda: schedules.PiecewiseConstantDecay([1], [0.1, "0.2"]),
        TypeError,
        r"PiecewiseConstantDecay: values\[1\]: expected a number, got '0.2'",
    ),
    (
        lambda: legacy.SGD(gradient_transformers=len),
        TypeError,
        "SGD: gradient_transformers: expected a list of functions or None, got a function",
    ),
    (lambda: optimizers.SGD(name=5), TypeError, "SGD: name: expected text or None, got 5"),
)


@pytest.mark.parametrize(("make", "error", "text"), TEXTS, ids=[text[:50] for *_, text in TEXTS])
def test_errors(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.sub(r"([()])", r"\\\1", text)):
        make()


@every_optimizer
def test_attributes_are_checked_as_arguments_are(cls: type[Any]) -> None:
    opt = cls()
    names = ["learning_rate", "lr", *("clipnorm", "clipvalue", "global_clipnorm", "sparse")]
    names += [p for p in inspect.signature(cls).parameters if hasattr(opt, p) and p != "name"]
    before = opt.get_config()
    for name in names:
        for value in NEVER:
            with pytest.raises((TypeError, ValueError)) as caught:
                setattr(opt, name, value)
            assert_named(caught.value, cls, "learning_rate" if name == "lr" else name)
    assert opt.get_config() == before


def test_later_values_of_what_is_held() -> None:
    for held in (Variable(0.5), np.array(0.5)):
        opt = legacy.SGD(held, momentum=held)
        np.asarray(held)[...] = np.inf
        with pytest.raises(ValueError, match="learning_rate: expected a finite number, got inf"):
            stepped(opt)
    opt = optimizers.SGD(0.5)
    opt.learning_rate.assign(-np.inf)
    with pytest.raises(ValueError, match="learning_rate: expected a finite number, got -inf"):
        stepped(opt)


@pytest.mark.parametrize("result", [None, "0.1", True, math.nan, math.inf, np.ones(2), 1j])
def test_functions_return_numbers(result: Any) -> None:
    text = "what the function given as learning_rate returned: expected"
    with pytest.raises((TypeError, ValueError), match=f"SGD: {text}"):
        optimizers.SGD(lambda: result)
    opt = legacy.SGD(lambda: result)
    with pytest.raises((TypeError, ValueError), match=f"SGD: {text}"):
        stepped(opt)
    with pytest.raises((TypeError, ValueError), match="SGD: what the function given as momentum"):
        stepped(legacy.SGD(momentum=lambda: result))


# ----- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, "0.1", True, math.nan, math.inf, np.ones(2), 1j])
def test_schedules_return_numbers(result: Any) -> None:
    text = "SGD: what Rate returned at step 0: expected"
    with pytest.raises((TypeError, ValueError), match=text):
        optimizers.SGD(Rate(result))
    opt = legacy.SGD(Rate(result))
    with pytest.raises((TypeError, ValueError), match=text):
        stepped(opt)
    assert int(opt.iterations) == 0


@pytest.mark.parametrize("result", [1, 0.5, np.float64(0.5), np.array(0.5), Variable(0.5)])
def test_numbers_that_schedules_return(result: Any) -> None:
    for api in (optimizers, legacy):
        np.testing.assert_array_equal(
            stepped(api.SGD(Rate(result))), stepped(api.SGD(float(result)))
        )


def foreign(module: str, name: str, config: dict[str, Any]) -> Any:
    """A schedule as another package has it."""

    def call(self: Any, step: Any) -> float:
        return 0.5

    members = {"__call__": call, "get_config": lambda self: config, "__module__": module}
    return type(name, (), members)()


def test_schedules_of_other_packages() -> None:
    config = {"initial_learning_rate": 0.1, "decay_steps": 10, "alpha": 0.5, "name": "CosineDecay"}
    for module in ("keras.src.optimizers", "tf_keras.src.optimizers", "tensorflow.python.keras"):
        for api in (optimizers, legacy):
            opt = api.SGD(foreign(module, "CosineDecay", config))
            ours = opt.get_config()["learning_rate"]
            assert ours["class_name"] == "CosineDecay"
            assert {key: ours["config"][key] for key in config} == config
            opt.learning_rate = foreign(module, "CosineDecay", config)
    text = "takes arguments; to have a rate by the step, derive from slotwise.optimizers.schedules"
    for rate in (foreign("keras", "Mine", {}), foreign("optax", "CosineDecay", {}), lambda n: 0.1):
        for api in (optimizers, legacy):
            with pytest.raises(TypeError, match=text):
                api.SGD(rate)


class Ramp(schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> float:
        return 0.1 * min(1.0, (float(step) + 1) / 10)


class Warm(schedules.LearningRateSchedule):
    def __init__(self, after: Any) -> None:
        self.after = after

    def __call__(self, step: Any) -> Any:
        return self.after(step)

    def get_config(self) -> dict[str, Any]:
        return {"after": self.after}


@pytest.mark.parametrize("api", [optimizers, legacy])
@pytest.mark.parametrize("rate", [Ramp(), Warm(Ramp()), Warm(lambda step: 0.1)])
def test_schedules_without_a_config_are_saved(api: Any, rate: Any, tmp_path: Path) -> None:
    opt, var = api.Adam(rate), Variable(np.zeros(2), name="w")
    opt.apply_gradients([(np.ones(2), var)])
    slotwise.save(tmp_path / "x", optimizer=opt, variables=[var])
    other = api.Adam(rate)
    assert not slotwise.load(tmp_path / "x", optimizer=other, variables=[var]).report
    assert int(other.iterations) == 1
    custom = {"Ramp": Ramp, "Warm": Warm}
    with pytest.raises(ValueError, match="expected its config, got None: when it was written"):
        slotwise.load(tmp_path / "x", optimizer="saved", variables=[var], custom_objects=custom)


def test_what_is_not_written_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Bare(Ramp):
        pass

    with caplog.at_level(logging.WARNING, "slotwise"):
        for _ in range(2):
            optimizers.SGD(Bare()).get_config()
    assert caplog.text.count("Bare has no config that JSON can hold") == 1
    with pytest.raises(NotImplementedError, match="Bare: expected a class with get_config"):
        schedules.serialize(Bare())


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_a_schedule_that_holds_another(api: Any) -> None:
    inner = schedules.PolynomialDecay(np.float64(0.1), 10)
    opt = api.Adam(Warm(Warm(inner)))
    data = json.loads(json.dumps(optimizers.serialize(opt)))
    written = data["config"]["learning_rate"]["config"]["after"]["config"]["after"]
    assert written["module"] == "keras.optimizers.schedules"  # as tf_keras writes it
    assert (written["class_name"], written["registered_name"]) == ("PolynomialDecay", None)
    again = optimizers.deserialize(data, {"Warm": Warm})
    assert again.get_config() == opt.get_config()
    for step in range(12):
        rate = again._learning_rate if api is optimizers else again.learning_rate
        assert rate(step) == inner(step)
    with pytest.raises(ValueError, match=r"Unknown decay: 'Warm'\. .* custom_objects"):
        optimizers.deserialize(data)


@every_schedule
@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_a_rate_keeps_its_bits_through_a_config(cls: type[Any], kind: Any) -> None:
    def converted(value: Any) -> Any:
        return [*map(kind, value)] if isinstance(value, list) else kind(value)

    arguments = {
        key: converted(value) if key in ("initial_learning_rate", "values") else value
        for key, value in SCHEDULES[cls].items()
    }
    rate = cls(**arguments)
    for use_legacy_format in (False, True):
        data = schedules.serialize(rate, use_legacy_format)
        assert ("float64" in data) == (kind is np.float64)
        again = schedules.deserialize(json.loads(json.dumps(data)))
        for step in range(20):
            assert again(step) == rate(step)
            assert again(step).dtype == rate(step).dtype


def test_a_float64_schedule_trains_alike_after_its_config() -> None:
    opt = legacy.SGD(schedules.ExponentialDecay(np.float64(0.1), 3, np.float64(0.7)))
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(opt))))
    exact, var, other = 0.0, Variable(np.zeros(1)), Variable(np.zeros(1))
    for step in range(50):
        for one, its in ((opt, var), (again, other)):
            one.apply_gradients([(np.ones(1), its)])
        exact -= 0.1 * 0.7 ** (step / 3)
    assert var.value[0] == other.value[0] == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_numbers_in_float64_resume(is_scaled: bool, tmp_path: Path) -> None:
    opt: Any = legacy.SGD(np.float64(0.1), momentum=np.float64(0.9))
    opt = LossScaleOptimizer(opt) if is_scaled else opt
    var = Variable(np.zeros(2), name="w")
    opt.apply_gradients([(np.ones(2), var)])
    slotwise.save(tmp_path / "x", optimizer=opt, variables=[var])
    saved = slotwise.load(tmp_path / "x", optimizer="saved", variables=[var])
    assert not saved.report
    assert (saved.optimizer.lr.dtype, float(saved.optimizer.momentum)) == (np.float64, 0.9)


# ----- configs -----------------------------------------------------------------------------------


@every_optimizer
def test_configs_have_the_numbers_that_were_given(cls: type[Any]) -> None:
    fresh, used = cls(), cls()
    stepped(used)
    assert used.get_config() == fresh.get_config() | {"name": used.get_config()["name"]}
    for rate in (1e-4, 1 / 3, 3, np.float32(0.1)):
        opt = cls(rate)
        stepped(opt)
        assert opt.get_config()["learning_rate"] == rate
        opt.learning_rate = 0.3
        assert opt.get_config()["learning_rate"] == 0.3
        opt.learning_rate.assign(0.7)  # nothing is known but the float32 number
        assert opt.get_config()["learning_rate"] == 0.7
        assert type(opt.get_config()["learning_rate"]) is float


@pytest.mark.parametrize("cls", CURRENT, ids=lambda cls: cls.__name__)
def test_conversion_to_legacy_keeps_numbers(cls: type[Any]) -> None:
    old = getattr(legacy, cls.__name__, None)
    if old is not None and cls is not optimizers.Nadam:
        converted = optimizers.convert_to_legacy_optimizer(cls(1e-4))
        assert converted.get_config() == old(1e-4).get_config()


# ----- exclusions --------------------------------------------------------------------------------


def test_patterns() -> None:
    opt, var = optimizers.SGD(weight_decay=0.1), Variable(np.ones(2), name="w")
    what = "SGD.exclude_from_weight_decay"
    for arguments, text in (
        (
            {"var_names": "bias"},
            "var_names: expected a list of regular expressions or None, got 'b",
        ),
        ({"var_names": [1]}, r"var_names\[0\]: expected a regular expression, got 1"),
        ({"var_names": ["("]}, r"var_names\[0\]: expected a regular expression, got '\(': missing"),
        ({"var_list": var}, r"var_list\[0\]: expected a slotwise.Variable or an array, got 1.0"),
        ({"var_list": "w"}, "var_list: expected a list of variables or None, got 'w'"),
        ({"var_list": ["w"]}, r"var_list\[0\]: expected a slotwise.Variable or an array, got 'w'"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"{what}: {text}"):
            opt.exclude_from_weight_decay(**arguments)
    opt.exclude_from_weight_decay((v for v in [var]), ("bias", re.compile("W", re.IGNORECASE)))


def test_patterns_that_meet_no_variable(caplog: pytest.LogCaptureFixture) -> None:
    opt, var = optimizers.SGD(weight_decay=0.1), Variable(np.ones(2), name="w/bias")
    opt.exclude_from_weight_decay([Variable(1.0, name="other")], ["bias", "Bias"])
    with caplog.at_level(logging.WARNING, "slotwise"):
        for _ in range(2):
            opt.apply_gradients([(np.ones(2), var)])
    assert caplog.text.count("no variable is excluded by ['Bias', 'other']; the variables") == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING, "slotwise"):
        opt = optimizers.SGD(weight_decay=0.1)
        opt.exclude_from_weight_decay([var], ["w"])
        opt.build([var])
    assert caplog.text == ""
