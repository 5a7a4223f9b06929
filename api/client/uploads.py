"""Telemetry on its way to the service: files, bytes or a DataFrame."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from api.client.flow import Content

if TYPE_CHECKING:
    import pandas as pd

CSV, PARQUET, ARROW = "text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
BY_SUFFIX = {".csv": CSV, ".parquet": PARQUET, ".arrow": ARROW, ".arrows": ARROW}
CHUNK = 1 << 18

Progress = Callable[[int, int], None]


def headers_of(path: Path) -> dict[str, str]:
    """Content-Type and Content-Encoding of a file by its name.

    Raises:
        ValueError: it is no format that the service reads.
    """
    names = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = names[-1:] == [".gz"]
    kind = BY_SUFFIX.get((names[:-1] if zipped else names)[-1] if names[zipped:] else "")
    if kind is None:
        raise ValueError(f"{path.name}: telemetry files end in {', '.join(BY_SUFFIX)}, and .gz behind it")
    return {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if zipped else {})


def prepared(
    source: Path | str | bytes | pd.DataFrame, content_type: str | None, progress: Progress | None
) -> tuple[Content, dict[str, str]]:
    """The body and its headers.

    Args:
        source: a file, its format told by its ending; bytes, of `content_type`; or a frame with times as index.
        progress: called with the bytes sent so far and their total.
    """
    if isinstance(source, Path | str):
        path = Path(source)
        headers = headers_of(path) if content_type is None else {"Content-Type": content_type}
        return _content(lambda: path.open("rb"), path.stat().st_size, progress), headers
    if isinstance(source, bytes):
        data, kind = source, content_type or CSV
    else:
        from api.client import frames

        data, kind = frames.parquet(source), PARQUET
    return _content(lambda: io.BytesIO(data), len(data), progress), {"Content-Type": kind}


def _content(open_it: Callable[[], BinaryIO], size: int, progress: Progress | None) -> Content:
    def chunks() -> Iterator[bytes]:
        sent = 0
        with open_it() as file:
            while chunk := file.read(CHUNK):
                yield chunk
                sent += len(chunk)
                if progress is not None:
                    progress(sent, size)

    return Content(chunks, size)
