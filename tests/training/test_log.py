import pytest

from npseg.training import log


def write(path, steps):
    with log.Log(path) as records:
        for step in steps:
            records.append({"step": step, "loss": 0.1 * step})


def test_records_are_appended_and_read_back(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    write(path, [3])
    assert log.read(path) == [{"step": step, "loss": 0.1 * step} for step in (1, 2, 3)]
    assert path.read_text().count("\n") == 3


def test_a_record_is_on_its_way_before_the_log_is_closed(tmp_path):
    with log.Log(tmp_path / "log.jsonl") as records:
        records.append({"step": 1})
        assert log.read(tmp_path / "log.jsonl") == [{"step": 1}]
        records.sync()


def test_no_file_is_an_empty_log(tmp_path):
    assert log.read(tmp_path / "log.jsonl") == []


def test_cut_back_keeps_the_steps_up_to_the_checkpoint(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2, 3])
    before = path.read_bytes().split(b"\n")
    log.cut_back(path, 2)
    assert path.read_bytes().split(b"\n") == [*before[:2], b""]
    log.cut_back(path, 0)
    assert path.read_bytes() == b""


def test_a_cut_off_last_line_is_left_out_and_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    path.write_bytes(path.read_bytes()[:-4])
    assert [record["step"] for record in log.read(path)] == [1]
    log.cut_back(path, 2)
    write(path, [2])
    assert [record["step"] for record in log.read(path)] == [1, 2]


@pytest.mark.parametrize("line", ["{", "3", "{}", '{"step": "1"}', "\xff", ""])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line.encode("latin-1") + b'\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl: line 2 is no record of a step"):
        log.read(path)


def test_nan_never_enters_the_log(tmp_path):
    with log.Log(tmp_path / "log.jsonl") as records, pytest.raises(ValueError, match="JSON"):
        records.append({"step": 1, "loss": float("nan")})
    assert log.read(tmp_path / "log.jsonl") == []
