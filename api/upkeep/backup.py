"""Backup and restore of everything that lies in the data folder, beside a running service.

The order makes the copy consistent: first the recommendations that wait for the database (one that it takes meanwhile
is in both, and stored once), then the database (by SQLite's own backup, at one instant), then of each telemetry table
its log and after it the files, none of which is deleted for a day after the log forgets it, then the twins and fleets,
whose folders are written before anything names them. A manifest of SHA-256 digests ends the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sqlalchemy.engine import make_url

from api.records.db import copy_sqlite
from api.records.spool import SUFFIX
from api.settings import Settings
from twin.errors import ConflictError, NotFoundError, TwinError

MANIFEST = "manifest.json"
FORMAT = 1
DATABASE, TELEMETRY, TWINS, FLEETS, SPOOL = "twin.db", "telemetry", "twins", "fleets", "spool"
Tell = Callable[[str], None]


def backup(settings: Settings, archive: Path, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Write an archive (tar; compressed where its name ends in .gz); its manifest.

    What does not lie in the data folder (Postgres, S3) is not in it: the manifest names it under `elsewhere`.

    Raises:
        NotFoundError: there is nothing to back up.
        ConflictError: the archive exists already.
    """
    if not settings.data_dir.is_dir():
        raise NotFoundError(f"no data folder at {settings.data_dir}; is TWIN_DATA_DIR set as it is for the service?")
    if archive.exists():
        raise ConflictError(f"{archive} exists already; choose another name")
    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(partial, "w:gz") if archive.suffix == ".gz" else tarfile.open(partial, "w") as tar:
        digests = dict(_copy(tar, settings, tell))
        manifest = {
            "format": FORMAT,
            "version": version("plant-twin"),
            "created": datetime.now(UTC).isoformat(),
            "elsewhere": elsewhere(settings),
            "files": digests,
        }
        content = json.dumps(manifest, indent=1).encode()
        tar.addfile(_entry(MANIFEST, len(content)), io.BytesIO(content))
    partial.rename(archive)
    return manifest


def restore(archive: Path, data_dir: Path, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Put an archive into an empty or new data folder, every file checked; its manifest.

    Raises:
        ConflictError: the folder holds something.
        TwinError: the archive is damaged, cut off or none of ours; the folder is left as it was.
    """
    if data_dir.exists() and any(data_dir.iterdir()):
        raise ConflictError(f"{data_dir} is not empty; restore into a new folder, and point TWIN_DATA_DIR at it")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir.parent, prefix=data_dir.name + ".restoring-") as folder:
        try:
            manifest = _unpack(archive, Path(folder), tell)
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise TwinError(f"{archive} cannot be restored: {error}") from error
        if data_dir.exists():
            data_dir.rmdir()
        content = Path(folder) / "content"
        content.rename(data_dir)
    return manifest


def elsewhere(settings: Settings) -> list[str]:
    """What is kept outside the data folder, and so must be backed up by its own means."""
    found = []
    if _sqlite(settings) is None:
        found.append(f"the database at {make_url(settings.database).render_as_string()}: use its own tool, as pg_dump")
    if not _telemetry(settings).is_dir() and settings.telemetry_url:
        found.append(f"the telemetry at {settings.telemetry}: copy it, or have its versions kept")
    return found


def _copy(tar: tarfile.TarFile, settings: Settings, tell: Tell) -> Iterator[tuple[str, str]]:
    """Adds every file; its name in the archive and its digest."""
    for path in sorted(settings.spool.glob(f"*{SUFFIX}")):
        try:
            waiting = path.read_bytes()
        except FileNotFoundError:  # all of it has been stored meanwhile
            continue
        name = str(PurePosixPath(SPOOL, path.name))
        tar.addfile(_entry(name, len(waiting)), io.BytesIO(waiting))
        yield name, hashlib.sha256(waiting).hexdigest()
    database = _sqlite(settings)
    if database is not None and database.exists():
        tell("the database")
        with tempfile.TemporaryDirectory() as folder:
            copy_sqlite(database, Path(folder) / DATABASE)
            yield _add(tar, Path(folder) / DATABASE, DATABASE)
    for table in sorted(_folders(_telemetry(settings))):
        tell(f"telemetry of {table.name}")
        log = sorted((table / "_delta_log").rglob("*"))
        files = sorted(set(table.rglob("*")) - set(log))
        for path in log + files:
            if path.is_file() and "#" not in path.name:  # with `#`: being written
                yield _add(tar, path, str(PurePosixPath(TELEMETRY, path.relative_to(table.parent).as_posix())))
    for kind, trained in ((TWINS, settings.twins), (FLEETS, settings.fleets)):
        tell(kind)
        for path in sorted(trained.rglob("*")):
            if path.is_file():
                yield _add(tar, path, str(PurePosixPath(kind, path.relative_to(trained).as_posix())))


def _add(tar: tarfile.TarFile, path: Path, name: str) -> tuple[str, str]:
    with path.open("rb") as file:
        hashing = _Hashing(file)
        tar.addfile(_entry(name, path.stat().st_size), hashing)
    return name, hashing.digest.hexdigest()


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(datetime.now(UTC).timestamp()), 0o600
    return entry


class _Hashing:
    """A file whose digest is taken while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        part = self._file.read(size)
        self.digest.update(part)
        return part


def _unpack(archive: Path, folder: Path, tell: Tell) -> dict[str, Any]:
    content = folder / "content"
    with tarfile.open(archive) as tar:
        tar.extractall(content, filter="data")
    manifest: dict[str, Any] = json.loads((content / MANIFEST).read_text())
    if manifest.get("format") != FORMAT:
        raise ValueError(f"it is of format {manifest.get('format')}, and this version reads {FORMAT}")
    (content / MANIFEST).unlink()
    found = {path.relative_to(content).as_posix() for path in content.rglob("*") if path.is_file()}
    if found != set(manifest["files"]):
        odd = sorted(found ^ set(manifest["files"]))
        raise ValueError(f"its files are not those of its manifest: {', '.join(odd[:3])}")
    tell(f"checking {len(found)} files")
    for name, digest in manifest["files"].items():
        with (content / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise ValueError(f"{name} is damaged")
    return manifest


def _sqlite(settings: Settings) -> Path | None:
    url = make_url(settings.database)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _telemetry(settings: Settings) -> Path:
    return Path(settings.telemetry.removeprefix("file://"))


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
