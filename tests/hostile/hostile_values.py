"""Values that no argument can have meant."""

import numpy as np

HUGE = 2**40
"""Of pixels or channels: more than any memory has, and an array of it is refused before it is made."""

HOSTILE = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "2^40": HUGE,
    "10^30": 10**30,
    "word": "a",
    "bytes": b"a",
    "object": object(),
    "empty list": [],
    "empty tuple": (),
    "tuple": (1, 2),
    "three": (1, 2, 3),
    "huge pair": (HUGE, HUGE),
    "nested": ((1, 2), (3, 4)),
    "dictionary": {"a": 1},
    "set": {1},
    "function": len,
    "class": int,
    "list of numbers": [[1.0, 2.0]],
    "scalar array": np.array(3),
    "empty array": np.zeros((0, 0, 0, 0)),
    "vector": np.ones(3),
    "float16": np.ones((1, 1, 2, 2), np.float16),
    "complex": np.ones((1, 1, 2, 2), complex),
    "objects": np.array([[[[None]]]]),
    "words": np.array(["a", "b"]),
    "masked": np.ma.masked_array(np.ones((1, 1, 2, 2)), mask=True),
    "structured": np.zeros((1, 1, 2, 2), [("a", "f4")]),
    "dates": np.zeros((1, 1, 2, 2), "M8[s]"),
    "giant": np.broadcast_to(np.float64(1), (2**20, 2**20, 2**7, 2**7)),
    "giant plane": np.broadcast_to(np.float64(1), (1, 1, 2**20, 2**20)),
    "giant indices": np.broadcast_to(np.int64(0), (1, 1, 2**20, 2**20)),
}
