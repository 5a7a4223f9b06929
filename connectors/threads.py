"""Work in threads that is cancelled only as a whole: a thread cannot be stopped, so it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def whole(work: Coroutine[Any, Any, R]) -> R:
    """Do it; when cancelled meanwhile, let it end first, so that nothing it uses is closed under its hands."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
