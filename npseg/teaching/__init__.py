"""Pictures that explain: the only place of the package that draws.

`trace` takes an operation apart into steps that print as sentences; `npseg.teaching.figures` draws them.
"""

from npseg.teaching.traces import OPERATIONS, PixelStep, PixelTrace, Product, Stages, Step, Trace, trace

__all__ = ["OPERATIONS", "PixelStep", "PixelTrace", "Product", "Stages", "Step", "Trace", "trace"]
