"""Twins of simulated plants, trained by defaults once and kept on disk until the code that trains them changes."""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from pathlib import Path

from twin import artifact
from twin.artifact import Twin
from twin.plants.base import Process
from twin.plants.cstr import Cstr
from twin.plants.exothermic_cstr import ExothermicCstr
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.shell import ShellFractionator
from twin.plants.simulator import Simulator
from twin.plants.systems import SYSTEMS
from twin.telemetry import Telemetry
from twin.train import Options, fit

CACHE = Path(__file__).parents[1] / "cache" / "twins"
ROOT = Path(__file__).parents[3]
TRAINS = ("twin/train.py", "twin/training", "twin/dynamics", "twin/scaling.py", "twin/windows.py", "twin/trust.py")
ROWS = 4000  # of the step test a twin learns from
SEED = 20  # of that test

PLANTS: dict[str, Process] = {
    "quadruple-tank": QuadrupleTank(),
    "quadruple-tank-nonminimum-phase": QuadrupleTank.nonminimum_phase(),
    "cstr": Cstr(),
    "shell": ShellFractionator(),
    "exothermic-cstr": ExothermicCstr(),
}


def trained(slug: str) -> Twin:
    """The twin of a plant, from the cache where it is there."""
    folder = CACHE / f"{slug}-{_digest(slug)}"
    if not folder.exists():
        # CPU time, so that other work on the machine takes nothing of the budget
        artifact.save(fit(telemetry(slug), Options(), clock=time.process_time), folder)
    return artifact.load(folder)


def telemetry(slug: str) -> Telemetry:
    """What the twin of a plant learns from: a step test, or of a system its ordinary operation with test moves."""
    return SYSTEMS[slug].telemetry(ROWS, SEED) if slug in SYSTEMS else Simulator(PLANTS[slug], SEED).excite(ROWS)


def _digest(slug: str) -> str:
    """Of the plant's telemetry and of the code that trains."""
    found = hashlib.sha256(telemetry(slug).values.tobytes())
    for name in TRAINS:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(file.read_bytes())
    return found.hexdigest()[:12]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for name in sys.argv[1:] or (*PLANTS, *SYSTEMS):
        print(name, trained(name).card["training"]["stopped_by"], flush=True)
