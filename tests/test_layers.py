"""What an import may load: describing a plant or reading its telemetry never starts JAX."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import connectors

LIGHT = [
    "twin.errors",
    "twin.plant",
    *(module.name for module in pkgutil.walk_packages(connectors.__path__, "connectors.")),
]
PROGRAM = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "jax" in sys.modules:
        sys.exit(f"{name} loads jax")
"""


def test_no_light_module_loads_jax_in_a_fresh_process():
    done = subprocess.run([sys.executable, "-c", PROGRAM, *LIGHT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_check_itself_sees_jax():
    done = subprocess.run([sys.executable, "-c", PROGRAM, "twin.rollout"], capture_output=True, text=True, timeout=120)
    assert done.stderr.strip() == "twin.rollout loads jax"
