from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npseg.training import schedules
from npseg.training.settings import Settings


@given(st.integers(0, 10_000))
def test_constant_never_changes(step):
    assert schedules.constant(step) == 1.0


@given(st.integers(1, 50), st.integers(0, 500))
def test_step_decay_falls_once_each_period(every, step):
    before = schedules.step_decay(step, every=every, factor=0.5)
    after = schedules.step_decay(step + 1, every=every, factor=0.5)
    assert after == (before / 2 if (step + 1) % every == 0 else before)


@given(st.integers(1, 500), st.floats(0.5, 3))
def test_polynomial_falls_from_one_to_zero(steps, power):
    rates = [schedules.polynomial(step, steps=steps, power=power) for step in range(steps + 2)]
    assert rates[0] == 1.0
    assert rates[-2:] == [0.0, 0.0]
    assert all(later < earlier for earlier, later in pairwise(rates[:-1]))


def test_settings_choose_the_schedule():
    common = {"steps": 100, "learning_rate": 0.5}
    polynomial = Settings(**common, schedule="polynomial", power=2.0)
    step = Settings(**common, schedule="step", decay_every=10, decay_factor=0.5)
    constant = Settings(**common, schedule="constant")
    assert polynomial.learning_rate_at(50) == 0.5 * 0.25
    assert step.learning_rate_at(25) == 0.5 * 0.25
    assert constant.learning_rate_at(99) == 0.5


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("optimizer", "adagrad"),
        ("schedule", "cosine"),
        ("loss", "median"),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("decay_every", 0),
        ("class_weights", (1.0, -1.0)),
        ("validate_every", 0),
        ("checkpoint_every", 0),
    ],
)
def test_settings_that_no_run_could_use_are_refused(setting, value):
    with pytest.raises(ValueError, match=setting):
        Settings(**{"steps": 10, setting: value})
