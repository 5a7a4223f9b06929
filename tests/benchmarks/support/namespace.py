"""A network namespace whose link can be cut without a word; only root makes one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.connectors.support import needed


@dataclass(frozen=True)
class Namespace:
    """One link between here and there.

    Attributes:
        here, there: addresses of its two ends.
        inside: how to run a program there.
    """

    here: str
    there: str
    inside: tuple[str, ...]
    link: str

    def cut(self) -> None:
        """From now on nothing arrives, and nobody is told."""
        subprocess.run([needed("ip"), "link", "set", self.link, "down"], check=True)

    def mend(self) -> None:
        """From now on everything arrives."""
        subprocess.run([needed("ip"), "link", "set", self.link, "up"], check=True)


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace of this process; several processes may have theirs side by side."""
    mine = os.getpid() % 200
    name, near, far, net = f"twinfaults{mine}", f"twinf{mine}a", f"twinf{mine}b", f"10.213.{mine}"

    def ip(*words: str) -> None:
        subprocess.run([needed("ip"), *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        ip("addr", "add", f"{net}.1/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", name, "addr", "add", f"{net}.2/24", "dev", far)
        ip("-n", name, "link", "set", far, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Namespace(f"{net}.1", f"{net}.2", (needed("ip"), "netns", "exec", name), near)
    finally:
        ip("netns", "del", name)
