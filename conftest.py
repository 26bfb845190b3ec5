"""Where Numba is not installed, the files of its engine cannot be imported: no doctests are looked for in them."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("numba") else ["npseg/engines/numba/*"]
