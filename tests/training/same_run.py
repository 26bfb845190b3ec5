"""Whether two runs came out alike."""

import numpy as np

from npseg.models import files


def arrays_of(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files if name != "header"}


def assert_same_run(folder, expected):
    """The same log, the same last state, the same best network, bit for bit; nothing else left behind."""
    assert (folder / "log.jsonl").read_bytes() == (expected / "log.jsonl").read_bytes()
    for name in ("checkpoint.npz", "best.npz"):
        ours, theirs = arrays_of(folder / name), arrays_of(expected / name)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []
        assert files.read(folder / name)[2] == files.read(expected / name)[2]
    assert (folder / "config.json").read_bytes() == (expected / "config.json").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in expected.iterdir())
