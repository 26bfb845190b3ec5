"""npseg: semantic segmentation from scratch in NumPy.

`npseg.ops` are the operations, `npseg.matrices` the same as sparse matrices, `npseg.nn` and `npseg.models` the networks
built from them; `npseg.training` and `npseg.data` make them learn.
"""

from npseg.engines import (
    engine_info,
    engines,
    get_column_limit,
    get_engine,
    set_column_limit,
    set_engine,
    use_engine,
)

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "engine_info",
    "engines",
    "get_column_limit",
    "get_engine",
    "set_column_limit",
    "set_engine",
    "use_engine",
]
