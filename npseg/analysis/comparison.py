"""Networks side by side: what each reached, and what it costs."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from npseg.analysis.summary import summary
from npseg.geometry import Size
from npseg.nn import Graph


@dataclass(frozen=True)
class Compared:
    """A line of a comparison.

    Attributes:
        name: of the network.
        mean_iu: of the validation, 0 ... 1; None where no class was there.
        pixel_accuracy: of the validation, 0 ... 1; None where no pixel was labelled.
        parameters: every stored weight and bias.
        macs: multiply-accumulates for one image, by the convention "npseg".
        seconds_per_step: of training; None where it was not measured.
    """

    name: str
    mean_iu: float | None
    pixel_accuracy: float | None
    parameters: int
    macs: int
    seconds_per_step: float | None


def compared(
    name: str,
    model: Graph,
    input_size: Size,
    *,
    mean_iu: float | None,
    pixel_accuracy: float | None,
    seconds_per_step: float | None,
) -> Compared:
    """A line for a network, counted at one size of image; the rest is taken as given. Errors as in `summary`."""
    counted = summary(model, input_size)
    return Compared(name, mean_iu, pixel_accuracy, counted.parameters, counted.macs, seconds_per_step)


TITLES = ("network", "mean IU", "pixel accuracy", "parameters", "MACs", "ms per step")


def as_text(lines: Sequence[Compared]) -> str:
    """A table for the terminal.

    >>> print(as_text([Compared("fcn8s", 0.811, 0.929, 2632273, 89000000, 0.0525)]))
    network  mean IU  pixel accuracy  parameters        MACs  ms per step
    fcn8s      81.1%           92.9%   2,632,273  89,000,000         52.5
    """
    table = [TITLES, *map(_cells, lines)]
    widths = [max(len(row[column]) for row in table) for column in range(len(TITLES))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
        for row in table
    )


def as_markdown(lines: Sequence[Compared]) -> str:
    """The same table for a page."""
    head = [" | ".join(TITLES), " | ".join([":--", *["--:"] * (len(TITLES) - 1)])]
    return "\n".join(f"| {row} |" for row in [*head, *(" | ".join(_cells(line)) for line in lines)])


def as_csv(lines: Sequence[Compared]) -> str:
    """One line of values for each network, below a line of names; what is None is empty."""
    written = io.StringIO()
    writer = csv.DictWriter(written, [field.name for field in fields(Compared)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, lines))
    return written.getvalue()


def as_json(lines: Sequence[Compared]) -> str:
    """A list of one object for each network."""
    return json.dumps([asdict(line) for line in lines], indent=2)


def _cells(line: Compared) -> tuple[str, ...]:
    return (
        line.name,
        _per_cent(line.mean_iu),
        _per_cent(line.pixel_accuracy),
        f"{line.parameters:,}",
        f"{line.macs:,}",
        "-" if line.seconds_per_step is None else f"{1000 * line.seconds_per_step:.1f}",
    )


def _per_cent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
