"""The command line.

    npseg train | pretrain | compare | evaluate | predict | convert | export | summary | formula | explain | explore |
    verify

Parsing, calling, printing; one file for each family of commands, as in `npseg.flags`. What takes time to import is
imported by the command that needs it, so `--help` is quick.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from npseg.cli import comparing, counting, inference, pretraining, teaching, training, verifying, weights
from npseg.cli.shared import INTERRUPTED, UsageError
from npseg.flags import make_parser

COMMANDS = {
    "train": training.train,
    "pretrain": pretraining.pretrain,
    "compare": comparing.compare,
    "evaluate": inference.evaluate,
    "predict": inference.predict,
    "convert": weights.convert,
    "export": weights.export,
    "summary": counting.summary,
    "formula": counting.formula,
    "explain": teaching.explain,
    "explore": teaching.explore,
    "verify": verifying.verify,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the words after `npseg`; None takes those of this process.

    Returns:
        The exit status: 0, 1 after an error, 2 after a usage error, 130 after Ctrl-C.

    Raises:
        SystemExit: the words cannot be parsed (status 2), or ask for help (status 0).
    """
    options = make_parser().parse_args(arguments)
    command = COMMANDS[vars(options).pop("command")]
    try:
        status: int = command(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail(command, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has left, as `head` does; a flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        return _fail(command, error, 2)
    except MemoryError as error:
        return _fail(command, f"out of memory: {error}", 1)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        return _fail(command, error, 1)


def _fail(command: Any, message: object, status: int) -> int:
    """One line on standard error, and the end of all ranks, where several train together.

    What fails on every rank is told by the first, whose end is everybody's before the others have waited.
    """
    ranks = sys.modules["npseg.training.ranks"] if "mpi4py" in sys.modules else None
    if ranks is not None and not ranks.world().first:
        time.sleep(4 * ranks.SECONDS_TO_BE_HEARD)
    if isinstance(message, OSError) and message.strerror:
        message = f"{message.filename}: {message.strerror}" if message.filename else message.strerror
    print(f"npseg {command.__name__}: {' '.join(str(message).split())}", file=sys.stderr)
    if ranks is not None:
        ranks.world().abort(status)
    return status
