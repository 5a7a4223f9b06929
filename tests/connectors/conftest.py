"""What the tests of connectors share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.connectors.support import needed
from tests.servers.conftest import postgres, s3  # noqa: F401

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of what runs on Node.js; npm fills it once."""
    if not (NODE / "node_modules").is_dir():
        command = [needed("npm"), "ci", "--ignore-scripts"]
        done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot install what the tests need: {done.stderr.strip()[-200:]}")
    return NODE
