"""Where compiled kernels are kept between processes.

Numba keeps them beside the source, or in the user's cache folder where the package folder is read-only (a folder named
by NUMBA_CACHE_DIR comes before both). Five things are done here that it leaves out, each a few lines:

    stale      a kernel is compiled anew when any file of this folder has changed: kernels call one another
    late       what a process with older sources writes over a newer file is taken for missing
    damaged    what cannot be read is compiled anew; what cannot be written is not kept
    together   the file of each specialisation has a name of its own, so that two processes that compile different ones
               at the same time cannot mix them up
    apart      functions of one text, such as those of each m of Winograd's algorithm, have different names in machine
               code, whichever process compiled them: of two with one name, the first to be loaded is run for both
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache, IndexDataCacheFile

# Numba numbers what it compiles, and the number is a part of the name; but every process would begin with 1.
FunctionIdentity._unique_ids = count(secrets.randbits(48))


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(contents)).hexdigest()


SOURCES = _digest(*(file.read_bytes() for file in sorted(Path(__file__).parent.rglob("*.py"))))
"""Changes with every source file of this folder."""


class KernelCache(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """The specialisations of one function.

    Raises:
        RuntimeError: there is no folder where they could be kept.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, SOURCES)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The specialisation for these types, or None."""
        try:
            return super().load_overload(signature, context)
        except Exception:  # whatever unpickling and linking a damaged file may raise
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a specialisation, if that is possible."""
        with suppress(OSError):  # the disk is full, or the folder has gone
            super().save_overload(signature, compiled)


class _Files(IndexDataCacheFile):  # type: ignore[misc]  # Numba has no types
    """An index of specialisations, and a file for each."""

    def save(self, key: Any, data: Any) -> None:
        """The index comes last: it never names a file that is not there."""
        name = self._data_name(int(_digest(repr(key).encode())[:15], base=16))
        self._save_data(name, (SOURCES, data))
        self._save_index({**self._load_index(), key: name})

    def load(self, key: Any) -> Any:
        """What is kept for the key by these sources, or None."""
        kept = super().load(key)
        return kept[1] if kept is not None and kept[0] == SOURCES else None

    def _load_index(self) -> dict[Any, str]:
        try:
            return super()._load_index()  # type: ignore[no-any-return]
        except Exception:  # damaged
            return {}
