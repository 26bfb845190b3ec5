"""`npseg convert`: other people's weights."""

import argparse

from npseg.cli.shared import UsageError


def convert(options: argparse.Namespace) -> int:
    """Turn a classifier's file into an FCN's initial weights."""
    from npseg import weights

    if options.source.resolve() == options.target.resolve():
        raise UsageError(f"{options.target} is the file to convert and would be overwritten; name another")
    try:
        network = weights.convert(options.source, options.target, options.kind)
    except ImportError as error:  # of the library that one of the formats needs
        raise RuntimeError(error) from error
    arrays = network.parameters
    count, fc6 = sum(array.size for array in arrays.values()), arrays["fc6.weight"].shape
    print(f"{options.target}: {count:,} parameters in {len(arrays)} arrays, fc6 {' x '.join(map(str, fc6))}")
    return 0
