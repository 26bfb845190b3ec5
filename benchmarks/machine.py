"""The machine and the process: what results depend on, and how much memory a process takes."""

import os
import platform
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import THREAD_VARIABLES

VARIABLES = ("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "NUMBA_", "TORCH_", "ONEDNN_", "DNNL_", "MALLOC_", "GLIBC_")
"""How the environment variables begin that change how fast numerical libraries are."""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def description(versions: Mapping[str, Mapping[str, Any]], roofs: Mapping[int, "Roof"]) -> str:
    """A Markdown list of all that a result depends on.

    Args:
        versions: what each worker says of itself, by its name.
        roofs: for each number of threads what the machine can do.
    """
    settings = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLES) and name not in THREAD_VARIABLES
    }
    items = {
        "processor": f"{processor()}, {cores()} cores, {platform.system()} {platform.machine()}",
        **{name: _listed(values) for name, values in versions.items()},
        "environment": _listed(settings) or "no variable of these libraries is set but the number of threads",
    }
    for threads, limits in roofs.items():
        items[f"measured peak, {_threads(threads)}"] = (
            f"{limits.operations / 1e9:.0f} GFLOP/s in float32 (the compiled engine's microkernel on data in the first "
            f"cache), {limits.traffic / 1e9:.1f} GB/s (a[i] = b[i] + factor * c[i], far larger than the caches)"
        )
    return "\n".join(f"- {name}: {text}" for name, text in items.items())


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if not str(value).startswith("/"))


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


class Roof:
    """What a number of threads can do at best: operations and bytes of traffic a second."""

    def __init__(self, operations: float, traffic: float) -> None:
        self.operations, self.traffic = operations, traffic

    def seconds(self, operations: int, traffic: int) -> float:
        """The least time for so much work."""
        return max(operations / self.operations, traffic / self.traffic)


# --------------------------------------------------------------------------------------------------------------- memory


def resident() -> int:
    """Bytes of memory that this process has now; on systems without /proc, the most it ever had."""
    return _status("VmRSS") or _largest()


@contextmanager
def peak_memory(peaks: list[int]) -> Iterator[None]:
    """Append the most bytes that this process has while the block runs; without /proc, since the process began."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the peak counts anew from here
    yield
    peaks.append(peak())


def peak() -> int:
    """The most bytes that this process ever had, or since `peak_memory` began.

    Linux counts what a process had before it became this program, its parent's memory, in `ru_maxrss`, and not here.
    """
    return _status("VmHWM") or _largest()


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _largest() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
