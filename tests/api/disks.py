"""A file system of a few MiB in memory, to run full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = os.sysconf("SC_PAGE_SIZE")


@contextmanager
def small(folder: Path, kib: int) -> Iterator[Path]:
    """A tmpfs of so many KiB at `folder`; the test is skipped where none can be mounted (no root, no mount)."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        why = "no mount" if done is None else done.stderr.strip()
        pytest.skip(f"NO TMPFS CAN BE MOUNTED: a disk that runs full was not tested ({why})")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int) -> None:
    """Fill the file system but for so many pages, with the file `ballast`."""
    free = shutil.disk_usage(folder).free
    (folder / "ballast").write_bytes(bytes(free - left * PAGE))
