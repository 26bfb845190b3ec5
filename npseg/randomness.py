"""Random generators that remember nothing: each draw is keyed by what it is for.

A generator that is passed along remembers every draw made before, so a resumed run must restore its state and a run
that shares the work among processes must share the generator. Here each purpose, step and sample has a generator of
its own, made from these numbers alone.
"""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *key: int) -> np.random.Generator:
    """The generator of one purpose, such as `generator(seed, "dropout", step, place_in_batch)`.

    Equal arguments give equal streams, on every machine and in every order; different ones give independent streams
    (NumPy's `SeedSequence` mixes the numbers).

    >>> generator(0, "order", 3).integers(100) == generator(0, "order", 3).integers(100)
    np.True_
    """
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *key])
