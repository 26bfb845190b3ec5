"""Where an optional library is not installed, the files that need it cannot be imported: no doctests are looked for."""

import importlib.util

NEEDED_BY = {
    "npseg/engines/numba/*": "numba",
    "npseg/verify/references/with_onnx.py": "onnx",
    "npseg/verify/references/with_scipy.py": "scipy",
    "npseg/verify/references/with_pytorch.py": "torch",
    "tests/models/pytorch_definitions.py": "torch",
}

collect_ignore_glob = [files for files, library in NEEDED_BY.items() if not importlib.util.find_spec(library)]
