"""The explorer: one HTML file in which every operation can be tried out, and the taps behind it seen.

Its sources lie beside this file: `page.html`, `style.css` and a few scripts in plain JavaScript, put together here.
The scripts compute for themselves what `npseg.ops` computes, by the same idea: an operation is a set of taps, and
columns, matrix, gradients and pictures are views of them. The tests compare the two number by number.
"""

import os
import webbrowser
from importlib.resources import files
from pathlib import Path

from npseg.files import write_whole

SCRIPTS = (
    "geometry.js",
    "settings.js",
    "taps.js",
    "least_squares.js",
    "families.js",
    "operations.js",
    "suggestions.js",
    "state.js",
    "values.js",
    "steps.js",
    "grids.js",
    "highlight.js",
    "formulas.js",
    "facts.js",
    "arrangement.js",
    "controls.js",
    "page.js",
    "listeners.js",
)
"""In the order in which they build on one another."""


def page() -> str:
    """The whole explorer as one HTML document that needs nothing else, neither files nor a network."""
    scripts = "".join(f"<script>\n{_source(name)}</script>\n" for name in SCRIPTS)
    return _source("page.html").replace("/* STYLE */\n", _source("style.css")).replace("<!-- SCRIPTS -->\n", scripts)


def write(path: str | os.PathLike[str]) -> None:
    """Write the explorer to a file, whole or not at all.

    Args:
        path: where to; its folder must exist.

    Raises:
        OSError: the file cannot be written; an older one is untouched.
    """
    content = page().encode()
    write_whole(path, lambda file: file.write(content))


def show(path: str | os.PathLike[str]) -> bool:
    """Open the file in the user's browser; whether there is one."""
    try:
        return webbrowser.open(Path(path).resolve().as_uri())
    except webbrowser.Error:
        return False


def _source(name: str) -> str:
    """The text of a file beside this one, wherever the package lies."""
    return (files(__name__) / name).read_text(encoding="utf-8")
