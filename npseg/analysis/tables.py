"""A summary in writing: a table for the terminal, Markdown, CSV and JSON."""

import csv
import io
import json
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from npseg import checks
from npseg.analysis.conventions import convention_of
from npseg.analysis.summary import LayerSummary, Summary

FIELDS = (
    "name",
    "type",
    "inputs",
    "output_shape",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "parameters",
    "macs",
    "activation_bytes",
    "receptive_field",
    "effective_stride",
    "offset",
)
"""What CSV and JSON say of each layer."""


@dataclass(frozen=True)
class _Column:
    title: str
    cell: Callable[[LayerSummary], str]
    total: Callable[[Summary], str] = lambda summary: ""
    is_text: bool = False
    dropped: int = 0
    """The turn in which a narrow terminal goes without it; 0 is never."""


# ------------------------------------------------------------------------------------------------------ for people


def text(summary: Summary, width: int | None = None) -> str:
    """A table of one line per layer, and what all layers come to.

    Args:
        summary: of a network.
        width: characters per line; None takes the terminal's. A narrow table leaves out columns, first "kept", what
            training keeps for the backward pass, and the offset.
    """
    checks.instance(summary, "summary", Summary)
    width = shutil.get_terminal_size((100, 24)).columns if width is None else checks.integer(width, "width", at_least=1)
    columns = list(_COLUMNS)
    while _width(summary, columns) > width and any(column.dropped for column in columns):
        columns.remove(min((column for column in columns if column.dropped), key=lambda column: column.dropped))
    widths = _widths(summary, columns)
    rule = "  ".join("-" * n for n in widths)
    lines = [_line([column.title for column in columns], columns, widths), rule]
    lines += [_line([column.cell(layer) for column in columns], columns, widths) for layer in summary.layers]
    lines += [rule, _line([column.total(summary) for column in columns], columns, widths), ""]
    for line in _closing(summary):
        lines += textwrap.wrap(line, max(width, 40), subsequent_indent="    ")
    return "\n".join(line.rstrip() for line in lines)


def markdown(summary: Summary) -> str:
    """The same table for a page, all columns in it."""
    checks.instance(summary, "summary", Summary)
    lines = ["| " + " | ".join(column.title for column in _COLUMNS) + " |"]
    lines.append("|" + "|".join(" :-- " if column.is_text else " --: " for column in _COLUMNS) + "|")
    lines += ["| " + " | ".join(column.cell(layer) for column in _COLUMNS) + " |" for layer in summary.layers]
    totals = [column.total(summary) for column in _COLUMNS]
    lines.append("| " + " | ".join(f"**{total}**" if total else "" for total in totals) + " |")
    return "\n".join([*lines, "", *(f"- {line}" for line in _closing(summary))])


def _closing(summary: Summary) -> list[str]:
    """The figures that need more than a column."""
    frozen = summary.parameters - summary.trainable_parameters
    height, width = summary.input_size
    return [
        f"image {height} x {width}; convention {summary.convention}: {convention_of(summary.convention).counts}",
        f"parameters {summary.parameters:,}, trainable {summary.trainable_parameters:,}, frozen {frozen:,}",
        f"{_unit(summary)} {summary.macs:,}",
        f"activations {_bytes(summary.activation_bytes)}, kept for the backward pass {_bytes(summary.saved_bytes)}",
        *summary.notes,
    ]


def _unit(summary: Summary) -> str:
    return "FLOPs" if summary.convention == "torch" else "MACs"


def _widths(summary: Summary, columns: Sequence[_Column]) -> list[int]:
    return [
        max(len(column.title), len(column.total(summary)), *(len(column.cell(layer)) for layer in summary.layers))
        for column in columns
    ]


def _width(summary: Summary, columns: Sequence[_Column]) -> int:
    return sum(_widths(summary, columns)) + 2 * (len(columns) - 1)


def _line(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> str:
    return "  ".join(
        cell.ljust(n) if column.is_text else cell.rjust(n)
        for cell, column, n in zip(cells, columns, widths, strict=True)
    )


def _bytes(count: int) -> str:
    """In the largest unit that leaves at least 1."""
    unit, size = next(((unit, size) for unit, size in _UNITS if count >= size), ("B", 1))
    return f"{count / size:.1f} {unit}" if size > 1 else f"{count} B"


_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def _window(layer: LayerSummary) -> str:
    """Kernel size, then what is not 1 (stride, dilation, groups) or not 0 (padding): "7x7 s2 p3"."""
    if layer.kernel_size is None or layer.stride is None or layer.dilation is None:
        return ""
    parts = ["x".join(str(n) for n in layer.kernel_size)]
    for letter, pair in (("s", layer.stride), ("p", layer.padding), ("d", layer.dilation)):
        if pair not in ((1, 1), ((0, 0), (0, 0))) or (letter == "p" and pair == (1, 1)):
            parts.append(f"{letter}{_short(pair)}")
    if layer.groups not in (None, 1):
        parts.append(f"g{layer.groups}")
    return " ".join(parts)


def _short(pair: Any) -> str:
    """One number where all are equal: 2, 2x3, (1,0)x(1,1)."""
    if isinstance(pair, tuple) and len(set(pair)) == 1:
        return _short(pair[0])
    if isinstance(pair, tuple) and isinstance(pair[0], tuple):
        return "x".join(f"({before},{after})" for before, after in pair)
    return "x".join(_number(n) for n in pair) if isinstance(pair, tuple) else _number(pair)


def _number(value: int | Fraction) -> str:
    return f"{float(value):g}"


def _fields(layer: LayerSummary) -> str:
    """The receptive field, or its range where paths or positions differ: 404, 372..404, 5x7."""
    if all(smallest == largest == size for (smallest, largest), size in _ranges(layer)):
        return _short(layer.receptive_field)
    return _short(tuple(smallest for (smallest, _), _ in _ranges(layer))) + ".." + _short(layer.receptive_field)


def _ranges(layer: LayerSummary) -> list[tuple[tuple[int, int], int]]:
    return list(zip(layer.receptive_field_range, layer.receptive_field, strict=True))


_COLUMNS = (
    _Column("layer", lambda layer: layer.name, lambda summary: "total", is_text=True),
    _Column("type", lambda layer: layer.type, is_text=True, dropped=4),
    _Column("output", lambda layer: "x".join(str(n) for n in layer.output_shape)),
    _Column("window", _window, is_text=True, dropped=6),
    _Column("parameters", lambda layer: f"{layer.parameters:,}", lambda summary: f"{summary.parameters:,}"),
    _Column("MACs", lambda layer: f"{layer.macs:,}", lambda summary: f"{summary.macs:,}"),
    _Column("memory", lambda layer: _bytes(layer.activation_bytes), lambda s: _bytes(s.activation_bytes), dropped=3),
    _Column("kept", lambda layer: _bytes(layer.saved_bytes), lambda summary: _bytes(summary.saved_bytes), dropped=1),
    _Column("field", _fields, dropped=7),
    _Column("step", lambda layer: _short(layer.effective_stride), dropped=5),
    _Column("offset", lambda layer: _short(layer.offset), dropped=2),
)


# ---------------------------------------------------------------------------------------------------- for programs


def as_dict(summary: Summary) -> dict[str, Any]:
    """All figures as dicts, lists, strings and numbers, for JSON; pairs are [height, width]."""
    checks.instance(summary, "summary", Summary)
    return {
        "input_size": list(summary.input_size),
        "convention": summary.convention,
        "parameters": summary.parameters,
        "trainable_parameters": summary.trainable_parameters,
        "macs": summary.macs,
        "layers": [{name: _plain(getattr(layer, name)) for name in FIELDS} for layer in summary.layers],
    }


def as_json(summary: Summary) -> str:
    """`as_dict` in writing."""
    return json.dumps(as_dict(summary), indent=2)


def as_csv(summary: Summary) -> str:
    """One line for each layer below a line of names; lists are written as in JSON."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(FIELDS)
    for layer in as_dict(summary)["layers"]:
        writer.writerow([json.dumps(value) if isinstance(value, list) else value for value in layer.values()])
    return written.getvalue()


def _plain(value: Any) -> Any:
    """Tuples as lists, fractions as numbers."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value
