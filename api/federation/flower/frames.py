"""What travels between a process of ours and its Flower process: a JSON object and, with some, a vector.

    4 bytes   length of the JSON, big-endian
    n bytes   JSON; "floats" says how many numbers follow
    4·floats  float32, little-endian

Shared by two environments: it needs NumPy alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

LONGEST_HEADER = 1 << 20  # bytes
MOST_FLOATS = 1 << 28
LONGEST_ANSWER = 1 << 16  # characters of what a site tells


class FrameError(Exception):
    """What was read is no frame."""


def write(stream: IO[bytes], header: Mapping[str, Any], vector: np.ndarray | None = None) -> None:
    """Write one frame and flush it."""
    body = b"" if vector is None else np.ascontiguousarray(vector, "<f4").tobytes()
    text = json.dumps({**header, "floats": len(body) // 4}).encode()
    stream.write(struct.pack(">I", len(text)) + text + body)
    stream.flush()


def read(stream: IO[bytes]) -> tuple[dict[str, Any], np.ndarray] | None:
    """The next frame, its vector (floats,) float32; None at the end of the stream.

    Raises:
        FrameError: the stream ends inside a frame, or what is there is none.
    """
    length = stream.read(4)
    if not length:
        return None
    size = struct.unpack(">I", length)[0] if len(length) == 4 else LONGEST_HEADER + 1
    if size > LONGEST_HEADER:
        raise FrameError(f"a header of {size} bytes")
    try:
        header = json.loads(_exactly(stream, size))
        floats = int(header.pop("floats"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FrameError(f"no header: {error}") from error
    if not 0 <= floats <= MOST_FLOATS:
        raise FrameError(f"a vector of {floats} numbers")
    return header, np.frombuffer(_exactly(stream, 4 * floats), "<f4")


def answer(text: str, vectors: Sequence[np.ndarray]) -> tuple[dict[str, Any], np.ndarray]:
    """What came from a site, and may be anything, as a frame can carry it: its JSON object, its vector (floats,).

    Raises:
        FrameError: it is none.
    """
    if len(text) > LONGEST_ANSWER:
        raise FrameError(f"an answer of {len(text)} characters")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"no JSON: {error}") from error
    if not isinstance(told, dict):
        raise FrameError("no JSON object")
    if len(vectors) != 1 or vectors[0].dtype.kind != "f" or vectors[0].size > MOST_FLOATS:
        raise FrameError("not one vector of floats: " + ", ".join(f"{v.dtype}{v.shape}" for v in vectors[:3]))
    with np.errstate(over="ignore"):
        return told, vectors[0].reshape(-1).astype("<f4")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts, left = [], size
    while left:
        part = stream.read(left)
        if not part:
            raise FrameError("the stream ends inside a frame")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
