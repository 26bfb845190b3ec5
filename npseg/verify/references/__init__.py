"""Other people's libraries as judges, where they are installed: SciPy, PyTorch, and ONNX's reference evaluator."""

from functools import cache, lru_cache
from types import ModuleType

from npseg.verify.cases import Case
from npseg.verify.references.reference import Reference


@cache
def judges() -> dict[str, ModuleType]:
    """The modules beside this one whose library is installed, by the library's name and version."""
    found: dict[str, ModuleType] = {}
    try:
        from npseg.verify.references import with_scipy

        found[f"SciPy {with_scipy.version()}"] = with_scipy
    except ImportError:
        pass
    try:
        from npseg.verify.references import with_pytorch

        found[f"PyTorch {with_pytorch.version()}"] = with_pytorch
    except ImportError:
        pass
    try:
        from npseg.verify.references import with_onnx

        found[f"ONNX {with_onnx.version()}"] = with_onnx
    except ImportError:
        pass
    return found


@lru_cache(maxsize=4)
def results(case: Case) -> list[Reference]:
    """What each installed library computes for this case; libraries that cannot express it are left out."""
    found = ((name, judge.results(case)) for name, judge in judges().items())
    return [Reference(name, *result) for name, result in found if result is not None]


__all__ = ["Reference", "judges", "results"]
