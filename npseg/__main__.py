"""`python -m npseg` is the command `npseg`."""

import sys

from npseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
