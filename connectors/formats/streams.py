"""Bodies as bounded byte streams: unpacked, never longer than allowed, with their first bytes known."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO

from twin.errors import TelemetryError

HEAD = 1 << 20  # bytes looked at to tell what a body is; a header line is no longer


class Body(io.RawIOBase):
    """A readable stream that counts.

    Args:
        stream: of the body.
        encoding: its Content-Encoding: None, "identity" or "gzip".
        max_bytes: unpacked, at most; what is longer may be a bomb.

    Raises:
        TelemetryError: another encoding; while reading: too long, or damaged.
    """

    def __init__(self, stream: BinaryIO, encoding: str | None, max_bytes: int) -> None:
        super().__init__()
        packing = (encoding or "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip"):
            raise TelemetryError(f"Content-Encoding '{encoding}' is not accepted; send gzip or none")
        self._stream = stream if packing == "identity" else gzip.GzipFile(fileobj=stream, mode="rb")
        self._left = max_bytes
        self._max = max_bytes
        self.head = b""
        self.head = self._take(HEAD)
        self._ahead = memoryview(self.head)
        self.tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._ahead[: len(target)] if self._ahead else memoryview(self._next(len(target)))
        self._ahead = self._ahead[len(data) :]
        target[: len(data)] = data
        self.tail = (self.tail + bytes(data[-8:]))[-8:]
        return len(data)

    def _take(self, size: int) -> bytes:
        """As much as `size` bytes, less only at the end."""
        parts = []
        while size and (data := self._next(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise TelemetryError(f"the gzip body is damaged or cut off: {error}") from None
        self._left -= len(data)
        if self._left < 0:
            raise TelemetryError(f"the body unpacks to more than {self._max} bytes; send it in parts")
        return data


def looks_like(head: bytes) -> str:
    """What a body seems to be."""
    if not head.strip():
        return "empty"
    signs = {
        b"PAR1": "Parquet",
        b"ARROW1": "an Arrow file",
        b"\x1f\x8b": "gzip (say so by Content-Encoding: gzip)",
        b"PK\x03\x04": "a ZIP archive or an Excel workbook",
        b"\xff\xff\xff\xff": "an Arrow stream",
        b"\xff\xfe": "UTF-16 text (save it as UTF-8)",
        b"\xfe\xff": "UTF-16 text (save it as UTF-8)",
    }
    for sign, name in signs.items():
        if head.startswith(sign):
            return name
    if head.lstrip()[:1] in (b"{", b"["):
        return "JSON"
    return "binary data" if b"\0" in head[:4096] else "text"
