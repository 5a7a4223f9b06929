"""Logs as those read them who run the service."""

from __future__ import annotations

import json
import subprocess
import sys

LOGGED = (
    "import structlog; from api.logs import configure; configure('info'); structlog.get_logger().info('x', tag='Öl °C')"
)


def test_names_of_tags_are_written_as_they_are() -> None:
    told = subprocess.run([sys.executable, "-c", LOGGED], capture_output=True, check=True).stderr.decode()
    assert json.loads(told)["tag"] == "Öl °C"
    assert "Öl °C" in told
