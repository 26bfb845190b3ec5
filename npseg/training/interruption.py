"""Ctrl-C as a request: the step under way is finished first, so that what is saved is whole."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """While this is entered, the first Ctrl-C only sets `requested`; the second one interrupts at once.

    Signals reach the main thread alone; entered in another thread, this does nothing.

    Args:
        message: the answer to the first Ctrl-C, for standard error.
    """

    def __init__(self, message: str) -> None:
        """Nothing is requested yet."""
        self.requested = False
        self._message = message
        self._former: Any = None

    def __enter__(self) -> "Interruption":
        """Take over SIGINT."""
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._request)
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        os.write(2, f"\n{self._message}\n".encode())  # sys.stderr may be in the middle of a line of its own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give SIGINT back."""
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)
            self._former = None
