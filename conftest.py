"""Where an optional library is not installed, the files that need it cannot be imported: no doctests are looked for."""

import importlib.util

NEEDED_BY = {
    "numba": "npseg/engines/numba/*",
    "onnx": "npseg/verify/references/with_onnx.py",
    "scipy": "npseg/verify/references/with_scipy.py",
    "torch": "npseg/verify/references/with_pytorch.py",
}

collect_ignore_glob = [files for library, files in NEEDED_BY.items() if not importlib.util.find_spec(library)]
