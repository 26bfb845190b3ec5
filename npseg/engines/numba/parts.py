"""Functions that kernels call: they are compiled as a part of the kernel, never by themselves.

Numba makes machine code of every function, ready to be called from anywhere, and then compiles it once more as a part
of whatever calls it. But only kernels have a use for the functions here. So Numba's compiler is told to leave their
code as it first wrote it: the kernel's own compilation makes everything of it, once.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Part(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """Code that is linked into other code, and not callable by itself."""

    def _optimize_final_module(self) -> None:
        """The whole will be."""

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """There is none."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> Any:
        """Whom Numba tells about the function's environment: nobody, since only Python objects need one."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to do."""


class PartCompiler(Compiler):  # type: ignore[misc]
    """Numba's compiler, with the result kept as a part."""

    def __init__(self, typing: Any, target: Any, library: Any, *rest: Any) -> None:
        super().__init__(typing, target, library, *rest)
        self.state.library = _Part(target.codegen(), "part")
