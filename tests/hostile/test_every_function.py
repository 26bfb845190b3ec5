"""Values that no argument can have meant, for every argument of every function: an error names it, or nothing happens.

Never a crash, a warning, or an error that only Python or NumPy would have raised.
"""

import copy
import inspect
import re

import numpy as np
import pytest
from functions import every_function, parameters_of, public_functions
from hostile_values import HOSTILE
from working_data import COLORS, IMAGE, LABELS
from working_networks import network

import npseg
from npseg import data, models, ops, weights
from npseg.training import checkpoints, transfer
from npseg.training.comparison import Comparison
from npseg.training.run import Run
from npseg.training.settings import Settings

FUNCTIONS = every_function()
GIANTS = [name for name in HOSTILE if "giant" in name]


OTHERS = {"step": [IndexError], "index": [IndexError]}
"""What else may be raised: a trace's steps and a data set's samples are numbered as any sequence's."""


def fresh(arguments):
    """Copies: running statistics are changed, generators draw, networks learn."""
    return copy.deepcopy(arguments)


def names_the_fault(message, argument, arguments, error):
    """A value of the wrong kind is the argument's own fault; one of the right kind may only not fit to another one."""
    blamed = [argument] if type(error) is TypeError else arguments
    patterns = [*(rf"\b{name}\b" for name in blamed), "asks for too much memory", "each length of a parameter's shape"]
    patterns += [r"^axis must lie in"]  # softmax's default
    return any(re.search(pattern, message) for pattern in patterns)


def try_all(function, arguments, options=None, skipped=()):
    """Call with each hostile value in place of each argument, which refuses at least ten; how many in all."""
    refusals = 0
    for argument in arguments:
        refused = 0
        for kind, value in HOSTILE.items():
            if kind in skipped:
                continue
            changed = {**fresh({name: kept for name, kept in arguments.items() if name != argument}), argument: value}
            try:
                function(**changed, **(options or {}))
            except Exception as error:
                what = f"{argument} = {kind}: {type(error).__name__}: {error}"
                assert type(error) in (TypeError, ValueError, *OTHERS.get(argument, ())), what  # noqa: PT017
                assert names_the_fault(str(error), argument, arguments, error), what  # noqa: PT017
                refused += 1
        assert refused >= 10, f"only {refused} hostile values of {argument} were refused"
        refusals += refused
    return refusals


def file_functions():
    """(function of a path, what the path is called) by name."""
    model, image = network(), IMAGE
    splits = [data.Shapes(2, split=split, image_size=(16, 16)) for split in ("train", "val")]
    chosen = Settings(steps=1, engine="im2col")
    return {
        "models.load": (models.load, "path"),
        "models.save": (lambda path: models.save(model, path), "path"),
        "weights.read": (weights.read, "path"),
        "weights.write": (lambda path: weights.write(path, {"a": np.ones(3)}), "path"),
        "weights.write_model": (lambda path: weights.write_model(path, model), "path"),
        "weights.locate": (weights.locate, "source"),
        "weights.load_onnx": (weights.load_onnx, "path"),
        "weights.export_onnx": (lambda path: weights.export_onnx(model, path), "path"),
        "weights.convert": (lambda path: weights.convert(path, "target.npz", "torchvision-vgg16"), "source"),
        "data.read_image": (data.read_image, "path"),
        "data.read_label_map": (lambda path: data.read_label_map(path, 3), "path"),
        "data.write_image": (lambda path: data.write_image(path, image), "path"),
        "data.write_label_map": (lambda path: data.write_label_map(path, LABELS, COLORS), "path"),
        "data.ImageFolder": (data.ImageFolder, "root"),
        "checkpoints.load": (checkpoints.load, "path"),
        "transfer.holds_classifier": (transfer.holds_classifier, "path"),
        "Comparison.resume": (lambda path: Comparison.resume(path, *splits), "folder"),
        "Run.start": (lambda path: Run.start(path, model, *splits, chosen), "folder"),
        "Run.resume": (Run.resume, "folder"),
    }


FILE_FUNCTIONS = file_functions()


RECORD = "what functions return; nobody makes one"
NOT_TRIED = {
    "ops.BatchNormSaved": RECORD,
    "weights.Report": RECORD,
    "data.Dataset": "what a data set must have",
    "data.Sample": RECORD,
    "analysis.Convention": RECORD,
    "analysis.LayerSummary": RECORD,
    "analysis.ReceptiveField": RECORD,
    "analysis.Summary": RECORD,
    "analysis.formulas.Cost": RECORD,
    "analysis.formulas.Line": RECORD,
    "analysis.formulas.Term": RECORD,
    "teaching.PixelStep": RECORD,
    "teaching.PixelTrace": RECORD,
    "teaching.Product": RECORD,
    "teaching.Stages": RECORD,
    "teaching.Step": RECORD,
    "teaching.Trace": RECORD,
}
"""Public functions and classes that no hostile value is given to, and why."""

ELSEWHERE = {
    "weights.load_into": {"model"},
    "weights.load_backbone": {"model"},
    "teaching.trace": {"x", "arrays", "arguments"},
}
"""Arguments that have a call of their own."""


def takes_engine(name):
    return "engine" in inspect.signature(FUNCTIONS[name][0]).parameters


def test_every_public_function_is_tried_or_excused():
    public = {name for name, function in public_functions() if inspect.signature(function).parameters}
    assert public - set(FUNCTIONS) - set(FILE_FUNCTIONS) == set(NOT_TRIED)


@pytest.mark.parametrize(("name", "function"), [pair for pair in public_functions() if pair[0] in FUNCTIONS])
def test_every_argument_is_tried(name, function):
    """It has a working value, which hostile ones can take the place of."""
    assert set(FUNCTIONS[name][1]) == set(parameters_of(name, function)) - ELSEWHERE.get(name, set())


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("ops.") and takes_engine(name)])
def test_every_operation_refuses_other_engines(name):
    function, arguments = FUNCTIONS[name]
    assert try_all(lambda engine: function(**arguments, engine=engine), {"engine": None}) >= len(HOSTILE) - 1


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.startswith("ops.")])
def test_hostile_arguments_are_refused_by_name(name):
    function, arguments = FUNCTIONS[name]
    function(**fresh(arguments))
    try_all(function, arguments)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("ops.")])
def test_hostile_arguments_are_refused_by_every_operation(name):
    """Giants are left to test_memory.py: a result may be small though the image it comes from is not."""
    function, arguments = FUNCTIONS[name]
    for options in [{"engine": engine} for engine in npseg.engines()[1:]] if takes_engine(name) else [{}]:
        try_all(function, arguments, options, skipped=GIANTS)


@pytest.mark.parametrize("value", [value for value in HOSTILE.values() if value is not None])
def test_engines_are_chosen_by_their_names(value):
    for choose in (npseg.set_engine, lambda name: npseg.use_engine(name).__enter__()):
        with pytest.raises((TypeError, ValueError), match="engine name must be one of"):
            choose(value)
    with pytest.raises((TypeError, ValueError), match="engine must be one of"):
        ops.max_pool2d(np.ones((1, 1, 2, 2)), 2, engine=value)


@pytest.mark.parametrize("value", HOSTILE.values())
def test_options_of_engines_are_words(value):
    if "numba" not in npseg.engines():
        pytest.skip("no engine here has an option")
    with pytest.raises((TypeError, ValueError), match=r"winograd must be one of \('off', 'f2', 'f4'\), got"):
        npseg.set_engine("numba", winograd=value)


def test_column_limits_are_numbers_of_bytes():
    before = npseg.get_column_limit()
    for value in (None, True, 0, -1, 1.5, "a", 10**30):
        with pytest.raises((TypeError, ValueError), match="bytes must be"):
            npseg.set_column_limit(value)
    assert npseg.get_column_limit() == before


@pytest.mark.parametrize("name", FILE_FUNCTIONS)
def test_paths_are_paths(tmp_path, monkeypatch, name):
    """What is no path is refused by name, and what is none that can be used is an error of the system."""
    monkeypatch.chdir(tmp_path)
    function, argument = FILE_FUNCTIONS[name]
    for value in [*(value for value in HOSTILE.values() if not isinstance(value, str)), "zero\0byte"]:
        with pytest.raises((TypeError, ValueError), match=rf"^{argument} must be (the|a) path"):
            function(value)
    with pytest.raises((OSError, ValueError), match="n" * 3000):
        function("n" * 3000 + ".npz")
    assert list(tmp_path.iterdir()) == []


def test_a_converted_file_has_a_path():
    with pytest.raises(TypeError, match=r"^target must be the path"):
        weights.convert("missing.npz", None, "torchvision-vgg16")


@pytest.mark.parametrize("argument", ["model", "settings"])
def test_a_run_needs_a_network_and_settings(tmp_path, argument):
    splits = [data.Shapes(2, split=split, image_size=(16, 16)) for split in ("train", "val")]
    arguments = {"model": network(), "settings": Settings(steps=1), argument: None}
    with pytest.raises(TypeError, match=f"{argument} must be a "):
        Run.start(tmp_path / "run", arguments["model"], *splits, arguments["settings"])
    with pytest.raises(TypeError, match=r"changes must be settings, got \['rate'\]"):
        Run.resume(tmp_path / "run", rate=3)
    assert not (tmp_path / "run").exists()
