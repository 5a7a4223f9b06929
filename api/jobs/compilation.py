"""JAX's persistent cache of compiled programs: a restart compiles nothing again."""

from __future__ import annotations

from pathlib import Path

import jax


def cache(folder: Path) -> None:
    """Keep compiled programs in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)  # type: ignore[no-untyped-call]
