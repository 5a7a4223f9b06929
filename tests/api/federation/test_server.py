"""The server's rounds with sites that lie, fall silent, are late or start again; Flower is played by a double."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.federation import server
from api.federation.server import CONSENSUS, Server
from api.federation.settings import ServerFile, read
from twin.errors import FederationError
from twin.federation.artifact import load
from twin.fleet.common import Common

FILE = """
[server]
folder = "server"
[sites]
a = "a.pub"
b = "b.pub"
c = "c.pub"
[rounds]
rule = "fedavg"
aggregate = "mean"
count = {count}
wait_s = 0.3
patience = 2
[model]
sample_period_s = 10
history = 8
horizon = 6
tags = [{{name = "valve", role = "mv", unit = "%"}}, {{name = "level", role = "cv", unit = "m"}}]
"""
NONE = np.zeros(0, np.float32)


class Flower:
    """Answers as the hub does: a site moves every parameter by its number, unless it is told otherwise."""

    def __init__(self, **moves: float) -> None:
        self.moves = moves
        self.started = dict.fromkeys(moves, "once")
        self.pending: dict[str, tuple[int, np.ndarray]] = {}
        self.silent: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.final: dict[str, np.ndarray] = {}

    def ask(self, kind: str, vector: np.ndarray | None = None, **header: Any) -> Iterator[tuple[dict, np.ndarray]]:
        if kind == "send":
            assert vector is not None
            self.asked.append((header["site"], header["header"]["round"]))
            if header["header"].get("final"):
                self.final[header["site"]] = vector
            self.pending[header["site"]] = (header["header"]["round"], vector)
        if kind == "poll":
            for site in sorted(set(self.pending) - self.silent):
                number, sent = self.pending.pop(site)
                told = {"kind": "update", "site": site, "round": number}
                change = np.full_like(sent, self.moves[site])
                yield {**told, "answer": {"rows": 10, "loss": 1.0}}, change
        yield {"kind": kind, "online": dict(self.started)}, NONE


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "POLL_S", 0.01)


def told(folder: Path, count: int = 1) -> ServerFile:
    (folder / "fed.toml").write_text(FILE.format(count=count))
    return read(folder / "fed.toml", ServerFile)


def run(folder: Path, flower: Flower, count: int = 1) -> tuple[np.ndarray, list[dict], list[str]]:
    """How far the consensus went from the start, the records, and what was said."""
    said: list[str] = []
    file = told(folder, count)
    found = Server(file, flower, said.append).run()  # type: ignore[arg-type]
    return found.vector - Common.fresh(file.model.shape()).vector(), found.card["rounds"], said


def test_a_round_moves_by_the_mean_and_every_site_is_given_the_end(tmp_path: Path):
    flower = Flower(a=1.0, b=2.0, c=6.0)
    change, records, _ = run(tmp_path, flower)
    np.testing.assert_allclose(change, 3.0, atol=1e-5)
    assert records[0]["taken"] == ["a", "b", "c"]
    stored = load(tmp_path / "server" / CONSENSUS)
    for site in "abc":
        np.testing.assert_array_equal(flower.final[site], stored.vector)


def test_a_site_that_is_still_busy_at_the_end_is_given_it_too(tmp_path: Path):
    flower = Flower(a=1.0, b=1.0, c=4.0)
    flower.silent.add("c")
    running = Server(told(tmp_path), flower, lambda _: None)  # type: ignore[arg-type]
    running.standing, _ = running._open()
    flower.silent.clear()
    running._finish()
    assert set(flower.final) == {"a", "b", "c"}


def test_nan_from_a_site_is_told_by_its_name_and_does_no_harm(tmp_path: Path):
    change, records, said = run(tmp_path, Flower(a=1.0, b=2.0, c=float("nan")), 2)
    np.testing.assert_allclose(change, 3.0, atol=1e-5)
    assert "c: " in records[0]["refused"]["c"]
    assert "not finite" in said[0]
    assert records[1]["taken"] == ["a", "b"]


def test_one_site_alone_makes_no_round(tmp_path: Path):
    with pytest.raises(FederationError, match="only a can be counted"):
        run(tmp_path, Flower(a=1.0))
    assert not (tmp_path / "server" / CONSENSUS).exists()


def test_a_silent_site_is_not_asked_again_and_counts_when_it_speaks(tmp_path: Path):
    flower = Flower(a=1.0, b=1.0, c=4.0)
    flower.silent.add("c")
    told_ = told(tmp_path, 2)
    said: list[str] = []
    running = Server(told_, flower, said.append)  # type: ignore[arg-type]
    running.standing, first = running._open()
    assert first.taken == ("a", "b")
    flower.silent.clear()
    _, second = running._open()
    assert second.late == {"c": 1}
    assert flower.asked.count(("c", 0)) == 1
    assert ("c", 1) not in flower.asked


def test_a_site_that_was_started_anew_is_asked_anew(tmp_path: Path):
    flower = Flower(a=1.0, b=1.0, c=4.0)
    flower.silent.add("c")
    running = Server(told(tmp_path, 2), flower, lambda _: None)  # type: ignore[arg-type]
    running.standing, _ = running._open()
    flower.silent.clear()
    flower.started["c"] = "again"
    _, second = running._open()
    assert ("c", 1) in flower.asked
    assert second.late == {}


def test_a_server_goes_on_from_what_it_stored(tmp_path: Path):
    run(tmp_path, Flower(a=1.0, b=1.0, c=1.0), 2)
    change, records, _ = run(tmp_path, Flower(a=1.0, b=1.0, c=1.0), 3)
    np.testing.assert_allclose(change, 3.0, atol=1e-5)
    assert [record["round"] for record in records] == [1, 2, 3]


def test_an_answer_that_is_none_is_refused(tmp_path: Path):
    class Liar(Flower):
        def ask(self, kind: str, vector: Any = None, **header: Any) -> Iterator[tuple[dict, np.ndarray]]:
            for frame, found in super().ask(kind, vector, **header):
                if frame.get("site") == "b":
                    frame = {**frame, "answer": {"rows": "many"}}
                yield frame, found

    _, records, _ = run(tmp_path, Liar(a=1.0, b=2.0, c=3.0))
    assert records[0]["taken"] == ["a", "c"]
    assert "an answer that is none" in records[0]["refused"]["b"]
