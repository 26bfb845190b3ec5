"""Figures that explain, drawn from traces.

Each function returns a matplotlib `Figure` and never shows it; a notebook shows what a cell returns, and `write_png`
writes it to a file. `write` and `write_gif` make pictures and animations of a whole trace.
"""

from npseg.teaching.figures.export import write, write_gif, write_png
from npseg.teaching.figures.fields import checkerboard, dilation_gridding, overlaps, receptive_field_growth
from npseg.teaching.figures.matrices import im2col_columns, matrix_and_transpose
from npseg.teaching.figures.planes import side_by_side
from npseg.teaching.figures.predictions import fcn_predictions
from npseg.teaching.figures.steps import contact_sheet, step
from npseg.teaching.figures.upsampling import five_upsamplings, upsamplings

__all__ = [
    "checkerboard",
    "contact_sheet",
    "dilation_gridding",
    "fcn_predictions",
    "five_upsamplings",
    "im2col_columns",
    "matrix_and_transpose",
    "overlaps",
    "receptive_field_growth",
    "side_by_side",
    "step",
    "upsamplings",
    "write",
    "write_gif",
    "write_png",
]
