"""Which sample period training recommends for real plants, as they were recorded.

    python tests/benchmarks/sampling.py [plant ...] [--data FOLDER]

Linear models on averages over 1 to 12 rows forecast the same span of the same rows, out of fold, on each plant's
training runs: the errors by period, and what the report says. Results go to `results/sampling.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from real_data import DATA, load

from twin.scaling import Scaler
from twin.training.sampling import FACTORS, sampling
from twin.windows import Grid

RESULTS = Path(__file__).parent / "results" / "sampling.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plants", nargs="*", help="names of folders of the data; all by default")
    parser.add_argument("--data", type=Path, default=DATA)
    asked = parser.parse_args()
    if not asked.data.is_dir():
        sys.exit(f"no plant data in {asked.data}: give its folder by --data")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    head = f"{'plant':<19}{'period s':>9}{'best s':>8}"
    print(head + "".join(f"{f'x{factor}':>8}" for factor in FACTORS) + f"{'CPU s':>8}")
    for name in asked.plants or sorted(path.name for path in asked.data.iterdir() if path.is_dir()):
        train = load(asked.data / name, "train", 1)
        cpu = time.process_time()
        found = sampling(Grid.of(train, Scaler.fit(train)), train.plant.sample_period_s)
        results[name] = {**found, "cpu_s": round(time.process_time() - cpu, 2)}
        errors = {round(e["period_s"] / found["period_s"]): e["error"] for e in found["errors"]}
        told = "".join(f"{errors[f]:>8.3f}" if f in errors else f"{'–':>8}" for f in FACTORS)
        print(f"{name:<19}{found['period_s']:>9g}{found['best_s']:>8g}{told}{results[name]['cpu_s']:>8.1f}", flush=True)
    RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
