"""Flower's own Python environment: found where it is, made where it is not.

Flower pins libraries of the service (FastAPI among them) lower than the service does, so the two never share an
environment: a process of ours starts one of Flower's and talks to it through a pipe.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twin.errors import FederationError

FLOWER = Path(__file__).with_name("flower")
REQUIREMENTS = FLOWER / "requirements.txt"
MAKING_S = 600.0


def python(flower: Path | None, folder: Path) -> Path:
    """The interpreter of Flower's environment.

    Args:
        flower: an environment that has Flower already; nothing is installed into it.
        folder: else, where one is made: by uv where that is present, by pip otherwise.

    Raises:
        FederationError: there is no Flower in that environment, or none can be made.
    """
    home = flower or folder / "flower-environment"
    found = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if found.exists() and _has_flower(found):
        return found
    if flower is not None:
        raise FederationError(f"no Flower in {flower}: install {REQUIREMENTS} into it, or leave 'flower' out")
    for command in _commands(home, found):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MAKING_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise FederationError(f"Flower's environment was not made within {MAKING_S:g} s") from error
        if done.returncode:
            raise FederationError(f"Flower's environment cannot be made: {done.stderr.strip()[-800:]}")
    return found


def _commands(home: Path, found: Path) -> list[list[str]]:
    uv, wanted = shutil.which("uv"), ["--require-hashes", "-r", str(REQUIREMENTS)]
    if uv is not None:
        make = [uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(home)]
        return [make, [uv, "pip", "install", "--quiet", "--python", str(found), *wanted]]
    return [
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(found), "-m", "pip", "install", "--quiet", *wanted],
    ]


def _has_flower(interpreter: Path) -> bool:
    done = subprocess.run([str(interpreter), "-c", "import flwr"], capture_output=True, check=False)  # noqa: S603
    return done.returncode == 0
