"""A PostgreSQL of one's own that can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.connectors.support import free_port

SUPERUSER = "postgres"  # PostgreSQL refuses to run as root


class Postgres:
    """A server with an empty database, its data in `folder`."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        self._programs = found[-1].parent
        self._user = ["runuser", "-u", SUPERUSER, "--"] if os.getuid() == 0 else []
        self._folder, self._data, self._port = folder, folder / "data", free_port()
        self.url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{self._port}/{SUPERUSER}"
        folder.mkdir(parents=True)
        if self._user:
            folder.chmod(0o755)
            for parent in (folder.parent, folder):
                parent.chmod(0o755)
            shutil.chown(folder, SUPERUSER)
        self._run("initdb", "-D", str(self._data), "-U", SUPERUSER, "--auth=trust", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """At once, with every connection cut."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        self.stop()
        time.sleep(0.1)

    def _run(self, program: str, *words: str) -> None:
        command = [*self._user, str(self._programs / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)
