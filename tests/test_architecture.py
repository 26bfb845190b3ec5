"""Who may import whom: read from the source, so that an import inside a function counts too."""

import ast
import sys
from pathlib import Path

import pytest

import npseg

ROOT = Path(npseg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LEAVES = {"buffers", "checks", "files", "randomness"}
CHAIN = ["geometry", "matrices", "engines", "ops", "nn", "models"]
# `import npseg` itself only re-exports the choice of an engine.
OPERATIONS = {"geometry", "matrices", "engines", "ops", "npseg"}
NETWORKS = OPERATIONS | {"nn", "models"}
EVERYTHING = NETWORKS | {"training", "data", "weights", "analysis", "verify", "teaching"}

MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    **{part: set(CHAIN[:place]) for place, part in enumerate(CHAIN)},
    "npseg": {"engines"},
    "data": {"geometry"},
    "weights": NETWORKS,
    "analysis": NETWORKS,
    "training": NETWORKS | {"data"},
    "verify": EVERYTHING - {"teaching"},
    "teaching": EVERYTHING - {"training"},
    "flags": set(),
    "cli": EVERYTHING | {"flags"},
    "__main__": {"cli"},
}

LIBRARIES = {"numpy", "matplotlib", "PIL", "tqdm"}
OPTIONAL = {"scipy": "matrices", "numba": "engines", "llvmlite": "engines", "safetensors": "weights", "onnx": "weights"}


def part_of(module: str) -> str:
    """The part of the house a module belongs to: "npseg.ops.pooling" -> "ops"."""
    names = module.split(".")
    inside = len(names) > 1 and ((ROOT / names[1]).is_dir() or (ROOT / f"{names[1]}.py").is_file())
    return names[1] if inside else "npseg"


def imported_modules(file: Path) -> list[str]:
    """Every module a file imports, at its top or inside a function."""
    modules = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relative to itself; write the full name"
            assert node.module is not None
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_one_way(file):
    relative = file.relative_to(ROOT)
    part = "npseg" if relative.name == "__init__.py" and len(relative.parts) == 1 else relative.parts[0].split(".")[0]
    imported = {part_of(module) for module in imported_modules(file) if module.split(".")[0] == "npseg"}
    forbidden = imported - MAY_IMPORT[part] - LEAVES - {part}
    assert not forbidden, f"{part} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_few_libraries(file):
    libraries = {module.split(".")[0] for module in imported_modules(file)} - sys.stdlib_module_names - {"npseg"}
    part = file.relative_to(ROOT).parts[0].split(".")[0]
    allowed = LIBRARIES | {library for library, user in OPTIONAL.items() if user == part}
    assert libraries <= allowed
    assert "matplotlib" not in libraries or part == "teaching", "only teaching draws"


def test_every_part_is_known():
    parts = {file.relative_to(ROOT).parts[0].split(".")[0] for file in FILES} - {"__init__"}
    assert parts <= set(MAY_IMPORT)
