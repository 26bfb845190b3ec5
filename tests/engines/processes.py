"""Running code in a process of its own, with an environment of its own."""

import os
import subprocess
import sys
import textwrap


def run(code, *arguments, **environment):
    """A script, to its successful end."""
    return finish("-c", textwrap.dedent(code), *arguments, **environment)


def finish(*arguments, **environment):
    """Python with these arguments, to its successful end; None takes a variable out of the environment."""
    variables = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    command = [sys.executable, "-P", *map(str, arguments)]  # -P: of the current folder nothing is imported
    process = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert process.returncode == 0, f"{process.returncode}: {process.stdout[-200:]}\n{process.stderr}"
    return process
