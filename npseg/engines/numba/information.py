"""What the compiled engine is made of on this machine, and what it has chosen: for `npseg.engine_info`."""

from typing import Any

import llvmlite
import numba

from npseg.engines import choice
from npseg.engines.numba.compiling import cache_folder
from npseg.engines.numba.microkernel import PROCESSOR, ROWS, VECTOR_BYTES, VECTORS


def describe() -> dict[str, Any]:
    """The keys that `npseg.engine_info` lists for this engine; starts Numba's threads, but compiles nothing."""
    threads = numba.get_num_threads()
    winograd = choice.option("numba", "winograd", None, None)
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "processor": PROCESSOR,
        "vector_bits": 8 * VECTOR_BYTES,
        "tile": (ROWS, VECTORS * VECTOR_BYTES // 4),
        "threads": threads,
        "threading_layer": numba.threading_layer(),
        "cache_folder": cache_folder(),
        "winograd": winograd or "off",
        "winograd_in_networks": winograd or "f4",
    }
