"""How much memory the paper's network takes, and the benchmark that says so."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import memory, report

ROOM = 2 * 2**30
"""Bytes beside the bound that a machine should have for this to be tried."""


def physical_memory() -> int:
    """Bytes; 0 where the system does not say."""
    known = {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", {}))
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 0


@pytest.mark.slow
@pytest.mark.skipif(physical_memory() < memory.BOUND + ROOM, reason="the machine has less memory than is allowed")
@pytest.mark.parametrize("engine", report.default_engines())
@pytest.mark.parametrize("work", memory.WORK, ids=str)
def test_the_papers_fcn8s_stays_below_6_gib(work: memory.Work, engine: str) -> None:
    peak, _ = memory.measure(work, engine, threads=1)
    weights = 4 * 134_489_759
    assert weights < peak < memory.BOUND


def test_the_command_measures_every_work_with_every_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["memory", "--quick", "--engines", "im2col", "--threads", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    memory.main()
    written = (tmp_path / "memory.md").read_text()
    assert written in capsys.readouterr().out
    assert written.count("| im2col |") == len(memory.WORK)


def test_what_exceeds_the_bound_is_bold() -> None:
    table = memory._report(memory.WORK[:1], ["im2col"], {(memory.WORK[0], "im2col"): 7 * memory.GIB}, "")
    assert "| im2col | 0.50 |" in table
    assert table.endswith("| **7.00** |\n")
