import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npseg.training.ranks import LAUNCHED_BY_MPI, Ranks, _own_cores, check_batch, world

SCRIPT = Path(__file__).with_name("steps_of_ranks.py")


# A process by itself


def test_a_process_by_itself_sends_and_changes_nothing():
    ranks, gradients = Ranks(), {"a.weight": np.arange(3.0)}
    assert (ranks.rank, ranks.size, ranks.first, ranks.alone) == (0, 1, True, True)
    assert ranks.summed(gradients)["a.weight"] is gradients["a.weight"]
    ranks.average(gradients)
    np.testing.assert_array_equal(gradients["a.weight"], [0, 1, 2])
    assert ranks.total(2.5) == 2.5
    assert (ranks.any(True), ranks.any(False)) == (True, False)
    assert ranks.by_first(lambda: 3) == 3
    ranks.abort(1)  # and goes on


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("number", [0, 3, 8, 17])
def test_the_parts_are_all_and_fair(size, number):
    parts = []
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        parts.append(ranks.part(number))
    assert [place for part in parts for place in part] == list(range(number))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_ranks_than_samples_are_refused():
    ranks = Ranks()
    ranks.size = 4
    check_batch(4, ranks)
    with pytest.raises(ValueError, match="batch_size must be at least the number of ranks, 4, got 3"):
        check_batch(3, ranks)


@pytest.mark.parametrize(
    ("cores", "threads"),
    [
        ([{0, 1, 2, 3}] * 2, [2, 2]),
        ([{0, 1, 2, 3}] * 3, [1, 1, 1]),
        ([{0}, {1}], [1, 1]),  # bound by the launcher
        ([{0, 1}, {2, 3}], [2, 2]),
        ([{0, 1}] * 4, [1, 1, 1, 1]),
        ([{0, 1, 2, 3}, {2, 3}], [3, 1]),
    ],
)
def test_the_cores_of_a_machine_are_divided(cores, threads, monkeypatch):
    class Neighbours:
        def allgather(self, mine):
            return cores

    found = []
    for mine in cores:
        monkeypatch.setattr(os, "sched_getaffinity", lambda process, mine=mine: mine, raising=False)
        found.append(_own_cores(Neighbours()))
    assert found == threads


@pytest.mark.skipif(any(name in os.environ for name in LAUNCHED_BY_MPI), reason="these tests run under MPI")
def test_a_launcher_without_the_package_is_an_error(monkeypatch):
    assert world.__wrapped__().alone
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ValueError, match="several processes were started by MPI, for which mpi4py is needed"):
        world.__wrapped__()


# Several, by MPI


def mpirun(ranks, *command, check=True):
    """Run a program as so many ranks; the launcher of this Python's environment comes first."""
    pytest.importorskip("mpi4py")
    launcher = shutil.which("mpirun", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if launcher is None:
        pytest.skip("no mpirun")
    open_mpi = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    done = subprocess.run(
        [launcher, "-n", str(ranks), sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **open_mpi},
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def arrays_of(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files if name != "header"}


def losses_of(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_close(ours, theirs, tolerance):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(
            ours[name], value, rtol=0, atol=tolerance * max(1, np.abs(value).max()), err_msg=name
        )


@pytest.mark.mpi
def test_ranks_make_the_step_of_one(tmp_path):
    """Also where ranks count differently many pixels, by void and by class weights."""
    for ranks in (1, 2, 4):
        (tmp_path / str(ranks)).mkdir()
        mpirun(ranks, SCRIPT, "step_in_float64", tmp_path / str(ranks))
    for loss in ("mean", "sum"):
        one = arrays_of(tmp_path / "1" / f"{loss}-0.npz")
        assert one["losses"][0] != one["losses"][1]
        for ranks in (2, 4):
            parts = [arrays_of(tmp_path / str(ranks) / f"{loss}-{rank}.npz") for rank in range(ranks)]
            assert_close(parts[0], one, 1e-10)
            for part in parts[1:]:
                assert all(np.array_equal(part[name], parts[0][name]) for name in parts[0])


@pytest.mark.mpi
def test_a_run_resumes_with_another_number_of_ranks(tmp_path):
    for name, before, after in (("one", 1, 1), ("grown", 2, 4), ("shrunk", 4, 1)):
        (tmp_path / name).mkdir()
        mpirun(before, SCRIPT, "train", tmp_path / name)
        mpirun(after, SCRIPT, "resume", tmp_path / name)
    one = tmp_path / "one" / "run"
    for name in ("grown", "shrunk"):
        folder = tmp_path / name / "run"
        np.testing.assert_allclose(losses_of(folder), losses_of(one), rtol=1e-5)
        assert len(losses_of(folder)) == 9
        assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in one.iterdir())


@pytest.mark.mpi
def test_the_same_ranks_give_the_same_bits(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        mpirun(2, SCRIPT, "train", tmp_path / name)
    first, second = (tmp_path / name / "run" for name in ("first", "second"))
    assert (first / "log.jsonl").read_bytes() == (second / "log.jsonl").read_bytes()


@pytest.mark.mpi
def test_running_statistics_are_the_mean_over_the_ranks(tmp_path):
    mpirun(2, SCRIPT, "train_with_batch_norm", tmp_path)
    ours, theirs = (arrays_of(tmp_path / f"statistics-{rank}.npz") for rank in (0, 1))
    saved = arrays_of(tmp_path / "run" / "checkpoint.npz")
    for name in ("norm1.running_mean", "norm1.running_var"):
        np.testing.assert_array_equal(ours[name], theirs[name])
        assert any(np.array_equal(array, ours[name]) for key, array in saved.items() if key.endswith(name))
        assert np.ptp(ours[name]) > 0


@pytest.mark.mpi
def test_a_failing_rank_ends_all_with_its_error(tmp_path):
    done = mpirun(3, SCRIPT, "fail_on_the_last_rank", tmp_path, check=False)
    assert done.returncode != 0
    assert "LookupError: the last rank cannot go on" in done.stderr
    assert "rank 2:" in done.stderr


@pytest.mark.mpi
def test_the_command_speaks_once_and_leaves_one_run(tmp_path):
    train = ["-m", "npseg", "train", "--steps", 2, "--batch-size", 4, "--image-size", 32, 32, "--engine", "im2col"]
    done = mpirun(2, *train, "--output", tmp_path / "run")
    assert done.stdout.count("Run folder:") == 1
    assert "2 ranks" in done.stdout
    assert len(losses_of(tmp_path / "run")) == 2
    again = mpirun(2, *train, "--output", tmp_path / "run", check=False)
    assert again.returncode != 0
    assert again.stderr.count("is in use") == 1
    few = mpirun(2, *train[:5], "--batch-size", 1, "--output", tmp_path / "few", check=False)
    assert "batch_size must be at least the number of ranks, 2, got 1" in few.stderr
    assert not (tmp_path / "few").exists()
