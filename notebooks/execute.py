"""Execute lessons and store them with their outputs and thumbnails.

    python notebooks/execute.py            every lesson
    python notebooks/execute.py 02 04      these two

A lesson is edited as NN_name.py (text in jupytext's percent format); NN_name.ipynb is written from it and never edited.
Needs the packages of the `lessons` extra.
"""

import base64
import io
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image, ImageOps

from npseg.files import write_whole

FOLDER = Path(__file__).parent
THUMBNAIL = (320, 200)
SECONDS_FOR_A_CELL = 120


def lessons(*numbers: str) -> list[Path]:
    """The texts of the lessons with these numbers, in order; of all lessons if none is given.

    Raises:
        ValueError: there is no such lesson.
    """
    found = {path.name[:2]: path for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))}
    unknown = set(numbers) - set(found)
    if unknown:
        raise ValueError(f"lessons must be among {', '.join(found)}, got {', '.join(sorted(unknown))}")
    return [found[number] for number in numbers or found]


def read(lesson: Path) -> NotebookNode:
    """The lesson as a notebook without outputs; its cells are numbered, so that the same text gives the same file."""
    notebook = jupytext.read(lesson)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    return notebook


def executed(lesson: Path) -> NotebookNode:
    """The lesson with its outputs, from a kernel of its own that finds npseg beside this folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    notebook = read(lesson)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_FOR_A_CELL,
        startup_timeout=SECONDS_FOR_A_CELL,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    paths = [str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    client.execute(env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _says_that_it_compiles(output)]
    del notebook.metadata["language_info"]  # the version of Python, which is of no interest here
    return notebook


def _says_that_it_compiles(output: NotebookNode) -> bool:
    """The numba engine's notice, which comes only where nothing is in its cache."""
    return output.get("name") == "stderr" and output.text.startswith("npseg: compiling")


def thumbnail(notebook: NotebookNode) -> Image.Image:
    """The first picture of the cell tagged "thumbnail", or of the lesson, in small.

    Raises:
        ValueError: the lesson has no picture.
    """
    tagged = [cell for cell in notebook.cells if "thumbnail" in cell.metadata.get("tags", ())]
    for cell in tagged + notebook.cells:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
                    small = ImageOps.pad(picture.convert("RGB"), THUMBNAIL, color="white")
                return small.quantize(colors=128, dither=Image.Dither.NONE)
    raise ValueError("a lesson must show at least one picture")


def write(lesson: Path) -> None:
    """Execute the lesson and write its notebook and thumbnail."""
    notebook = executed(lesson)
    small = thumbnail(notebook)
    text = nbformat.writes(notebook) + "\n"
    write_whole(lesson.with_suffix(".ipynb"), lambda file: file.write(text.encode()))
    picture = FOLDER / "thumbnails" / f"{lesson.name[:2]}.png"
    write_whole(picture, lambda file: small.save(file, format="PNG", optimize=True))


if __name__ == "__main__":
    for text in lessons(*sys.argv[1:]):
        print(text.name)
        write(text)
