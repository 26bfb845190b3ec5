"""The settings of a run: which engine they mean, and what older files say of it."""

import pytest

import npseg
from npseg.training.settings import WINOGRAD, Settings

needs_numba = pytest.mark.skipif("numba" not in npseg.engines(), reason="Numba is not installed")


def test_settings_survive_their_description():
    settings = Settings(steps=3, engine="sparse", crop=(8, 9), class_weights=(1.0, 2.0))
    assert Settings.from_description(settings.describe()) == settings


def test_settings_from_before_winograd_can_be_read():
    description = Settings(steps=3, engine="im2col").describe()
    del description["winograd"]
    assert Settings.from_description(description) == Settings(steps=3, engine="im2col")
    assert Settings.from_description(description).settled().winograd is None


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("crop", (0, 3), ValueError),
        ("crop", 3, TypeError),
        ("crop", (3, "a"), TypeError),
        ("scale", 2.0, TypeError),
        ("scale", (1.0,), TypeError),
        ("class_weights", 5, TypeError),
        ("class_weights", (1.0, -1.0), ValueError),
        ("learning_rate", float("nan"), ValueError),
        ("steps", 10**30, ValueError),
    ],
)
def test_settings_that_no_run_could_use_are_named(name, value, error):
    with pytest.raises(error, match=name):
        Settings(**{"steps": 3, name: value})


def test_an_engine_is_settled_once_and_for_all():
    with npseg.use_engine("sparse"):
        settled = Settings(steps=3).settled()
    assert (settled.engine, settled.winograd) == ("sparse", None)
    assert settled.settled() == settled
    with pytest.raises(ValueError, match="engine 'sparse' has no option 'winograd'; it has none"):
        Settings(steps=3, engine="sparse", winograd="off").settled()
    with pytest.raises(ValueError, match="winograd must be one of"):
        Settings(steps=3, winograd="f3")


@needs_numba
def test_winograd_is_settled_as_given_or_in_force_or_for_networks():
    assert Settings(steps=3, engine="numba").settled().winograd == "f4"
    assert Settings(steps=3, engine="numba", winograd="off").settled().winograd == "off"
    with npseg.use_engine("numba", winograd="f2"):
        assert Settings(steps=3).settled().winograd == "f2"
        assert Settings(steps=3, winograd="off").settled().winograd == "off"
        assert Settings(steps=3, engine="im2col").settled().winograd is None
    assert Settings(steps=3, engine="numba", winograd="off").engine_options == {"winograd": "off"}


@needs_numba
def test_the_values_of_winograd_are_those_of_the_engine():
    from npseg.engines import resolve
    from npseg.flags import arguments

    assert WINOGRAD == arguments.WINOGRAD == resolve("numba").OPTIONS["winograd"]
