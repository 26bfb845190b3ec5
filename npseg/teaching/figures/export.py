"""Figures as files, for slides: PNG, and GIF that plays the steps."""

import io
import os
from pathlib import Path

from PIL import Image

from npseg import checks
from npseg.files import write_whole
from npseg.teaching.figures import steps
from npseg.teaching.figures.style import DOTS_PER_INCH, Picture
from npseg.teaching.traces import AnyTrace

LONGEST = 300.0
"""Seconds: the last step is shown twice as long, and the format counts them in hundredths, up to 65,535."""


def write(trace: AnyTrace, path: str | os.PathLike[str], *, step: int | None = None) -> None:
    """Write a trace as a picture.

    Args:
        trace: from `npseg.teaching.trace`.
        path: FILE.png for one step, or for the contact sheet if `step` is None; FILE.gif for an animation of all.
        step: its number, from 0.

    Raises:
        ValueError: the name has another ending, a step is asked of a GIF, or the trace is too long or large to draw.
        OSError: the file cannot be written; an older one is untouched.
    """
    ending = Path(path).suffix.lower()
    if ending == ".gif":
        if step is not None:
            raise ValueError(f"a GIF plays all steps: leave step out, or write a PNG, got {os.fspath(path)}")
        write_gif(trace, path)
    elif ending == ".png":
        write_png(steps.contact_sheet(trace) if step is None else steps.step(trace, step), path)
    else:
        raise ValueError(f"the figure must be FILE.png or FILE.gif, got {os.fspath(path)}")


def write_png(figure: Picture, path: str | os.PathLike[str]) -> None:
    """Write a figure as a PNG with whatever reaches outside (a long name in a legend) included."""
    content = checks.instance(figure, "figure", Picture).png()
    write_whole(path, lambda file: file.write(content))


def write_gif(trace: AnyTrace, path: str | os.PathLike[str], *, seconds: float = 1.2) -> None:
    """Write an animation of all steps, over and over, each shown for so many seconds and the last one twice as long."""
    if len(steps.checked(trace)) > steps.LARGEST_SHEET:
        raise ValueError(f"an animation holds at most {steps.LARGEST_SHEET} steps, got {len(trace)}")
    seconds = checks.number(seconds, "seconds", at_least=0.01, below=LONGEST)
    frames = [_picture(steps.step(trace, number)) for number in range(len(trace))]
    durations = [round(1000 * seconds)] * len(frames)
    durations[-1] *= 2
    first, *others = frames
    write_whole(
        path,
        lambda file: first.save(
            file, format="GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False
        ),
    )


def _picture(figure: Picture) -> Image.Image:
    """The figure in 256 colours, which is what a GIF can hold."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=DOTS_PER_INCH)
    memory.seek(0)
    with Image.open(memory) as picture:
        return picture.convert("RGB").quantize(colors=255, dither=Image.Dither.NONE)
