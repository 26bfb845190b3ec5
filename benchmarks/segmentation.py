"""How well FCN-32s, 16s and 8s segment at the same budget: `python -m benchmarks.segmentation [--data FOLDER]`.

Runs `npseg train` for every stride and seed, one after the other, and prints a Markdown table of the last validation. A
run that is already complete in the output folder is not trained again; one that was interrupted goes on. Flags that are
not listed below go to `npseg train`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STRIDES = (32, 16, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shapes", help="a folder of images and labels (default: shapes)")
    parser.add_argument("--strides", type=int, nargs="+", default=STRIDES, choices=STRIDES, help="which networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1), help="one run each (default: 0 1)")
    parser.add_argument("--output", type=Path, default=Path("runs/segmentation"), help="where the runs go")
    options, train_options = parser.parse_known_args()
    rows = []
    for stride in options.strides:
        for seed in options.seeds:
            folder = options.output / f"{Path(options.data).name}-fcn{stride}s-seed{seed}"
            flags = ["--data", options.data, "--stride", str(stride), "--seed", str(seed), *train_options]
            seconds = train(folder, flags)
            rows.append(row(f"FCN-{stride}s, seed {seed}", last_validation(folder), seconds))
    rows += baseline_rows(last_validation(folder))
    print("\n| network | mean IU | pixel accuracy | mean accuracy | seconds |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


def train(folder: Path, flags: list[str]) -> float:
    """Train, unless it has been done, and return how many seconds the whole command took."""
    timing = folder / "seconds.txt"
    if timing.exists():
        return float(timing.read_text())
    resumed = (folder / "checkpoint.npz").exists()
    arguments = ["--resume", str(folder)] if resumed else [*flags, "--output", str(folder)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "npseg", "train", *arguments], check=True, stdout=sys.stderr)
    seconds = float("nan") if resumed else time.perf_counter() - start
    timing.write_text(f"{seconds}\n")
    return seconds


def last_validation(folder: Path) -> dict[str, Any]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    validations: list[dict[str, Any]] = [record["val"] for record in records if "val" in record]
    return validations[-1]


def row(name: str, metrics: dict[str, Any], seconds: float | None = None) -> str:
    cells = [f"{100 * metrics[key]:.1f}%" for key in ("mean_iu", "pixel_accuracy", "mean_accuracy")]
    cells += [] if seconds is None else [f"{seconds:.0f}"]
    return f"| {name} | {' | '.join(cells)} |"


def baseline_rows(evaluation: dict[str, Any]) -> list[str]:
    names = {"majority": "most frequent class", "position": "most frequent class of each position"}
    return [row(name, evaluation["baselines"][key]) for key, name in names.items() if evaluation["baselines"][key]]


if __name__ == "__main__":
    main()
