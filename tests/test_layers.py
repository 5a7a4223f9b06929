"""What an import may load: describing a plant or reading its telemetry never starts JAX."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import connectors

LIGHT = [
    "twin.plant",
    "twin.errors",
    "twin.store",
    "twin.units",
    *(f"connectors.{module.name}" for module in pkgutil.iter_modules(connectors.__path__)),
]


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_does_not_load_jax(module):
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr or f"{module} loads jax"
