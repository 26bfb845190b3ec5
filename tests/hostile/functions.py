"""A working call of every public function: (function, arguments) by name. Each family has a file of its own."""

import inspect

from working_analysis import of_analysis, of_figures, of_formulas, of_measured, of_teaching
from working_data import of_data
from working_networks import of_layers, of_networks, of_training
from working_operations import of_geometry, of_matrices, of_operations
from working_weights import of_weights

from npseg import analysis, data, matrices, models, nn, ops, teaching, weights
from npseg.analysis import measured
from npseg.teaching import figures

PUBLIC = (ops, matrices, nn, models, weights, data, analysis, analysis.formulas, teaching, figures)
PATHS = {"path", "root", "source", "target"}
SPOKEN_OF_AS = {
    "models.encoder": {"name": "backbone"},
    "models.fcn_on": {"name": "backbone"},
    "analysis.formulas.named": {"name": "operation"},
    "teaching.figures.step": {"number": "step"},
}
"""What errors call an argument that the command line has another name for."""


def public_functions():
    """Functions and classes, by the names that they have here."""
    for module in PUBLIC:
        for name in module.__all__:
            function = getattr(module, name)
            if inspect.isroutine(function) or inspect.isclass(function):
                yield f"{module.__name__.removeprefix('npseg.')}.{name}", function
    for name, function in vars(measured).items():
        if inspect.isfunction(function) and function.__module__ == measured.__name__ and not name.startswith("_"):
            yield f"analysis.measured.{name}", function


def parameters_of(name, function):
    """Those that get hostile values beside the others: paths and engines are tried by themselves."""
    spoken_of_as = SPOKEN_OF_AS.get(name, {})
    parameters = inspect.signature(function).parameters.values()
    return {spoken_of_as.get(p.name, p.name): p for p in parameters if p.name not in {*PATHS, "engine"}}


def every_function():
    """(function, arguments) by name, with every argument that has a default."""
    known, calls = dict(public_functions()), _calls()
    for name in known.keys() & calls.keys():
        _, arguments = calls[name]
        for argument, parameter in parameters_of(name, known[name]).items():
            if parameter.default is not parameter.empty:
                arguments.setdefault(argument, parameter.default)
    return calls


def _calls():
    families = [
        of_operations(),
        of_matrices(),
        of_geometry(),
        of_layers(),
        of_networks(),
        of_training(),
        of_weights(),
        of_data(),
        of_analysis(),
        of_formulas(),
        of_measured(),
        of_figures(),
        of_teaching(),
    ]
    return {name: call for family in families for name, call in family.items()}
