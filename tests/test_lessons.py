"""The lessons: what GitHub shows is what their text says, and it runs.

The plain tests read the files as they are. Those marked `notebook` execute every lesson (extra `lessons`).
"""

import inspect
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from npseg import ops

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
TITLES = (
    "01_what_segmentation_is",
    "02_convolution",
    "03_convolution_backward",
    "04_dilation",
    "05_depthwise_separable",
    "06_pooling_unpooling",
    "07_bilinear",
    "08_transposed",
    "09_classifier_to_fcn",
    "10_skips",
    "11_training",
    "12_fast_kernels",
    "13_transfer",
    "14_transfer",
)

LARGEST_NOTEBOOK = 600_000
LARGEST_THUMBNAIL = 60_000
ALL_TOGETHER = 8 * 60
"""Bytes, bytes, and seconds."""

Cell = dict[str, Any]

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)


def cells(lesson: Path) -> list[Cell]:
    """The cells of the lesson's notebook."""
    notebook = json.loads(lesson.with_suffix(".ipynb").read_text(encoding="utf-8"))
    return list(notebook["cells"])


def source(cell: Cell) -> str:
    return "".join(cell["source"])


def tags(cell: Cell) -> list[str]:
    return list(cell["metadata"].get("tags", []))


def written_outputs(lesson: Path) -> str:
    """All that the lesson's code wrote as text."""
    texts: list[str] = []
    for cell in cells(lesson):
        for output in cell.get("outputs", ()):
            texts += output.get("text", [])
            for kind, content in output.get("data", {}).items():
                texts += content if kind.startswith("text/") else []
    return "".join(texts)


def links(text: str) -> list[str]:
    """The relative links of a text in Markdown, without their anchors."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"#]+)', text)
    return [link for link in found if not link.startswith("http")]


def broken(found: list[str]) -> list[str]:
    """Links to what is not there."""
    return [link for link in found if not (FOLDER / link).exists()]


def test_every_text_has_its_notebook_and_the_other_way_round():
    notebooks = {path.stem for path in FOLDER.glob("*.ipynb")}
    assert {lesson.stem for lesson in LESSONS} == notebooks
    assert notebooks
    assert notebooks <= set(TITLES)


@pytest.mark.parametrize("title", TITLES)
def test_the_index_names_every_lesson_and_shows_its_thumbnail(title):
    assert f"({title}.ipynb)" in README
    assert f'src="thumbnails/{title[:2]}.png"' in README


def test_the_index_links_to_what_is_there():
    assert broken(links(README)) == []


@every_lesson
def test_its_links_lead_somewhere(lesson):
    found = [link for cell in cells(lesson) if cell["cell_type"] == "markdown" for link in links(source(cell))]
    assert broken(found) == []
    assert any(link.startswith("../npseg/") for link in found), "a lesson links to the source that it explains"


@every_lesson
def test_it_has_three_exercises_with_hidden_solutions_and_a_check(lesson):
    every = cells(lesson)
    places = [number for number, cell in enumerate(every) if "exercise" in tags(cell)]
    assert len(places) == 3
    for place in places:
        exercise, solution, check = every[place : place + 3]
        assert re.search(r"^answer = \.\.\.", source(exercise), re.MULTILINE)
        assert {"solution", "hide-input"} <= set(tags(solution))
        assert solution["metadata"]["jupyter"] == {"source_hidden": True}
        assert re.search(r"^if answer is \.\.\.:$", source(solution), re.MULTILINE), "it leaves a given answer alone"
        assert "assert " in source(check)
        assert "print(" in source(check)


@every_lesson
def test_its_outputs_would_be_the_same_elsewhere(lesson):
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|usr|Users)/|[A-Z]:\\\\", written_outputs(lesson)), "a path"
    assert not re.search(r"0x[0-9a-f]{6,}", written_outputs(lesson)), "an address in memory"
    streams = {output.get("name") for cell in cells(lesson) for output in cell.get("outputs", ())}
    assert "stderr" not in streams, "a warning or a progress bar"


@every_lesson
def test_its_text_names_no_path_of_a_machine(lesson):
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|usr|Users)/", lesson.read_text(encoding="utf-8"))


@every_lesson
def test_its_files_are_small(lesson):
    assert lesson.with_suffix(".ipynb").stat().st_size <= LARGEST_NOTEBOOK
    thumbnail = FOLDER / "thumbnails" / f"{lesson.stem[:2]}.png"
    assert thumbnail.stat().st_size <= LARGEST_THUMBNAIL
    with Image.open(thumbnail) as picture:
        assert picture.size == (320, 200)


@every_lesson
def test_its_korean_terms_are_those_of_the_glossary(lesson):
    glossary = README[README.index("## Glossary") :]
    terms = re.findall(r"\(([가-힣 ]+)\)", "".join(source(cell) for cell in cells(lesson)))
    assert terms
    assert [term for term in terms if term not in glossary] == []


@pytest.mark.parametrize("name", [name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))])
def test_every_operation_names_the_lesson_that_shows_it(name):
    named = re.findall(r"notebooks/(\w+)\.ipynb", inspect.getdoc(getattr(ops, name)) or "")
    assert named
    assert set(named) <= set(TITLES)
    texts = [lesson.read_text(encoding="utf-8") for lesson in LESSONS if lesson.stem in named]
    assert all(name.removesuffix("_backward") in text for text in texts)


SECONDS: dict[str, float] = {}


@pytest.mark.notebook
@every_lesson
def test_it_runs_and_gives_what_is_stored(lesson):
    pytest.importorskip("jupytext", reason="needs the packages of the extra `lessons`")
    from notebooks.execute import executed

    started = time.perf_counter()
    fresh = executed(lesson)
    SECONDS[lesson.stem] = time.perf_counter() - started
    stored = cells(lesson)
    assert [(cell["cell_type"], source(cell)) for cell in stored] == [
        (cell.cell_type, cell.source) for cell in fresh.cells
    ], "the .py and the .ipynb differ: python notebooks/execute.py writes the .ipynb anew"
    assert [kinds(cell) for cell in stored] == [kinds(cell) for cell in fresh.cells]


def kinds(cell: Cell) -> list[list[str]]:
    """Of each output of a cell its MIME types, or the stream's name."""
    return [sorted(output.get("data", {output.get("name")})) for output in cell.get("outputs", ())]


@pytest.mark.notebook
def test_all_lessons_together_take_no_longer_than_promised():
    assert sum(SECONDS.values()) < ALL_TOGETHER, SECONDS
