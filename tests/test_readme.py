"""What the README says must be so."""

import doctest
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_its_examples_run() -> None:
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


def test_its_pictures_and_files_are_there() -> None:
    text = README.read_text()
    paths = re.findall(r'src="([^"]+)"', text) + re.findall(r"`((?:npseg|tests|benchmarks)/[\w/.]*)`", text)
    assert paths
    missing = [path for path in paths if not (README.parent / path).exists()]
    assert missing == []
