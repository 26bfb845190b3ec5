"""Full disks, read-only folders, and folders that vanish: the newest whole checkpoint survives, and the run goes on."""

import builtins
import errno
import os
import subprocess
from dataclasses import replace

import pytest
from killed_run import SETTINGS, start
from same_run import assert_same_run

from npseg import files
from npseg.training import checkpoints, log
from npseg.training.run import Run

QUICK = replace(SETTINGS, steps=7, validate_every=3, checkpoint_every=2, batch_size=1, engine="im2col")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk") / "run"
    assert start(folder, QUICK).train()
    return folder


class Disk:
    """Counts the writes to files of npseg, and is full from one of them on; of that one it still takes half."""

    def __init__(self, monkeypatch, full_at=None):
        self.writes, self.full_at = 0, full_at
        for module in (files, log):
            monkeypatch.setattr(module, "open", self.open, raising=False)
        for name in ("fsync", "replace"):
            monkeypatch.setattr(files.os, name, self.counted(getattr(os, name)))

    def open(self, path, mode, **options):
        return DiskFile(builtins.open(path, mode, buffering=0), self)

    def is_full(self):
        self.writes += 1
        return self.full_at is not None and self.writes >= self.full_at

    def counted(self, function):
        def calling(*arguments):
            if self.is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*arguments)

        return calling


class DiskFile:
    """A file on such a disk."""

    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def write(self, content):
        if self._disk.is_full():
            self._file.write(bytes(content)[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


def all_writes(tmp_path):
    """How many writes an undisturbed run makes."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        start(tmp_path / "counted", QUICK).train()
    return disk.writes


def test_a_disk_full_at_any_write_costs_no_more_than_the_steps_since_the_checkpoint(tmp_path, undisturbed):
    """Also at the first write to each file, and at each sync and rename, which come before the last."""
    total = all_writes(tmp_path)
    for number in [1, 2, 3, *range(4, total, total // 12), total - 1, total]:
        folder = tmp_path / f"full-at-{number}"
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, full_at=number)
            with pytest.raises(OSError, match="No space left on device") as caught:
                start(folder, QUICK).train()
        assert caught.value.errno == errno.ENOSPC
        assert os.path.dirname(caught.value.filename) == str(folder)
        assert not list(folder.glob(".*.tmp"))
        if (folder / "checkpoint.npz").exists():
            assert checkpoints.load(folder / "checkpoint.npz").step % 2 in (0, 1)
            assert Run.resume(folder).train()
            assert_same_run(folder, undisturbed)
        else:
            assert [path.name for path in folder.iterdir()] in ([], ["config.json"])


@pytest.fixture
def small_disk(tmp_path):
    """A real file system in memory, of a size that can be changed; only root may make one."""
    mounted = tmp_path / "disk"
    mounted.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "npseg-test", mounted], capture_output=True)

    if os.geteuid() or mount("size=4k").returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield mounted, lambda options: mount(f"remount,{options}").check_returncode()
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def test_a_disk_that_is_really_full(small_disk, undisturbed):
    """It has room for one checkpoint, but not for the next one beside it."""
    disk, remount = small_disk
    size = (undisturbed / "checkpoint.npz").stat().st_size
    remount(f"size={int(1.7 * size)}")
    with pytest.raises(OSError, match="No space left on device") as caught:
        start(disk / "run", QUICK).train()
    assert caught.value.filename == str(disk / "run" / "checkpoint.npz")
    assert checkpoints.load(disk / "run" / "checkpoint.npz").step < 7
    remount(f"size={9 * size}")
    assert Run.resume(disk / "run").train()
    assert_same_run(disk / "run", undisturbed)


def test_a_read_only_disk_is_named_and_stays_as_it_is(small_disk, undisturbed):
    disk, remount = small_disk
    remount("size=10m")
    begun = start(disk / "run", QUICK)
    with pytest.raises(KeyboardInterrupt):
        begun.train(interrupt_after(3))
    before = {path.name: path.read_bytes() for path in begun.folder.iterdir()}
    remount("ro")
    with pytest.raises(OSError, match="Read-only file system"):
        Run.resume(begun.folder)
    assert {path.name: path.read_bytes() for path in begun.folder.iterdir()} == before
    remount("rw")
    assert Run.resume(begun.folder).train()
    assert_same_run(begun.folder, undisturbed)


def interrupt_after(step):
    def observe(record):
        if record["step"] == step:
            raise KeyboardInterrupt

    return observe


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    begun = start(tmp_path / "run", QUICK)
    begun.folder.chmod(0o555)
    with pytest.raises(PermissionError, match=r"checkpoint\.npz|log\.jsonl"):
        begun.train()
    begun.folder.chmod(0o755)
    assert checkpoints.load(begun.folder / "checkpoint.npz").step == 0


def test_a_folder_that_vanishes_is_named_and_goes_on_where_it_reappears(tmp_path, undisturbed):
    begun = start(tmp_path / "run", QUICK)
    elsewhere = tmp_path / "elsewhere"

    def move_away(record):
        if record["step"] == 3:
            begun.folder.rename(elsewhere)

    with pytest.raises(FileNotFoundError) as caught:
        begun.train(move_away)
    assert caught.value.filename == str(tmp_path / "run" / "checkpoint.npz")
    assert checkpoints.load(elsewhere / "checkpoint.npz").step == 2
    assert Run.resume(elsewhere).train()
    assert_same_run(elsewhere, undisturbed)
