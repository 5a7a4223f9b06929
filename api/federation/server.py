"""The server of a federation: it holds the consensus, asks sites for their changes, and counts them.

Flower carries the messages (`flower/hub.py`); what a round is, `twin.federation.rounds` says.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from api.federation import environment
from api.federation.process import Flower
from api.federation.settings import ServerFile
from twin.errors import FederationError
from twin.federation.artifact import Consensus, load, save
from twin.federation.rounds import LEAST, Record, Standing, advance, advance_by_mean
from twin.federation.site import Asked
from twin.federation.updates import Update, checked
from twin.fleet.common import Common

POLL_S = 0.5
CONSENSUS = "consensus.safetensors"
Say = Callable[[str], None]


class Server:
    """A federation that is being held.

    Args:
        told: its file.
        flower: the Flower process behind it.
        say: told a line a round.
    """

    def __init__(self, told: ServerFile, flower: Flower, say: Say) -> None:
        self.told, self.policy, self.say, self._flower = told, told.policy(), say, flower
        self.shape = told.model.shape()
        self.path = told.server.folder / CONSENSUS
        self.records: list[dict[str, Any]] = []
        self.id, vector = uuid.uuid4().hex[:12], Common.fresh(self.shape, told.model.seed).vector()
        number = 0
        if self.path.exists():
            earlier = load(self.path)
            if earlier.shape != self.shape:
                raise FederationError(f"{self.path} is of another model: move it away to start anew")
            self.id, vector, self.records = earlier.id, earlier.vector, list(earlier.card["rounds"])
            number = max((record["round"] for record in self.records), default=0)
        self.standing = Standing(number, vector.astype(np.float64))
        self._met = False  # whether all had the time to come
        self._busy: dict[str, str] = {}  # sites that have not answered, and when they were last started before

    def run(self) -> Consensus:
        """Hold the rounds that are left, and tell the sites the end of it.

        Raises:
            FederationError: too few sites answered, `patience` times in a row; the consensus so far is stored.
        """
        failed = 0
        while self.standing.round < self.told.rounds.count:
            try:
                self.standing, record = self._secure() if self.told.rounds.secure else self._open()
            except FederationError as error:
                failed += 1
                self.say(f"round {self.standing.round + 1} was not held ({failed}): {error.detail}")
                if failed >= self.told.rounds.patience:
                    raise
                continue
            failed = 0
            self.records.append(_json(record))
            self._keep()
            self.say(line(record))
        self._finish()
        return self._keep()

    def _header(self, **more: Any) -> dict[str, Any]:
        rounds, policy = self.told.rounds, self.policy
        asked = Asked(self.standing.round, policy.rule, len(policy.sites), rounds.steps).to_json()
        return {**asked, "shape": self.shape.to_json(), "seed": self.told.model.seed, **more}

    def _online(self) -> dict[str, str]:
        """When each site that is there was last started; one that was started anew has forgotten what it was asked."""
        found: dict[str, str] = list(self._flower.ask("sites"))[-1][0]["online"]
        self._busy = {site: was for site, was in self._busy.items() if found.get(site, was) == was}
        return found

    def _open(self) -> tuple[Standing, Record]:
        """A round in which every change is seen. The first waits for the whole roster, later ones for who is there."""
        until = time.monotonic() + self.told.rounds.wait_s
        updates: list[Update] = []
        refused: dict[str, str] = {}
        answered: set[str] = set()
        while time.monotonic() < until:
            online = self._online()
            for site, activated in online.items():
                if site not in self._busy and site not in answered:
                    self._send(site, activated)
            for site, found in self._poll():
                answered.add(site)
                if isinstance(found, Update):
                    updates.append(found)
                else:
                    refused[site] = found
            waited = online if self._met else self.policy.sites
            if len(answered) >= LEAST and answered.issuperset(waited):
                break
            time.sleep(POLL_S)
        self._met = True
        return advance(self.standing, updates, self.policy, refused)

    def _send(self, site: str, activated: str, **more: Any) -> None:
        vector = self.standing.consensus.astype(np.float32)
        list(self._flower.ask("send", vector, site=site, header=self._header(**more)))
        self._busy[site] = activated

    def _poll(self) -> list[tuple[str, Update | str]]:
        """Sites that answered, with their updates or why there is none."""
        found: list[tuple[str, Update | str]] = []
        for header, vector in self._flower.ask("poll"):
            if header["kind"] != "update":
                continue
            site = header["site"]
            self._busy.pop(site, None)
            try:
                found.append((site, _update(site, header, vector)))
            except FederationError as error:
                found.append((site, error.detail))
        return found

    def _secure(self) -> tuple[Standing, Record]:
        """A round of which only the mean is seen."""
        rounds, until = self.told.rounds, time.monotonic() + self.told.rounds.wait_s
        while len(online := self._online()) < len(self.policy.sites) and time.monotonic() < until:
            time.sleep(POLL_S)
        left = max(until - time.monotonic(), 1.0)
        vector = self.standing.consensus.astype(np.float32)
        asked: dict[str, Any] = {"sites": list(online), "header": self._header(), "wait_s": left, "clip": rounds.clip}
        header, mean = list(self._flower.ask("sum", vector, **asked))[-1]
        if "why" in header:
            raise FederationError(f"no secure sum: {header['why']}")
        return advance_by_mean(self.standing, checked("the sum", mean, len(vector)), header["count"], self.policy)

    def _finish(self) -> None:
        """Send the sites the consensus, to keep."""
        until = time.monotonic() + self.told.rounds.wait_s
        told: set[str] = set()
        while time.monotonic() < until:
            online = self._online()
            for site, activated in online.items():
                if site not in told and site not in self._busy:
                    self._send(site, activated, final=True)
                    told.add(site)
            self._poll()
            if not self._busy and told.issuperset(online):
                return
            time.sleep(POLL_S)

    def _keep(self) -> Consensus:
        card: dict[str, Any] = {
            "rule": dict(vars(self.policy.rule)),
            "sites": list(self.policy.sites),
            "rounds": self.records,
        }
        card |= {"aggregate": self.policy.aggregate, "secure": self.told.rounds.secure}
        consensus = Consensus(self.id, self.shape, self.standing.consensus.astype(np.float32), card)
        save(consensus, self.path)
        return consensus


def _update(site: str, header: dict[str, Any], vector: np.ndarray) -> Update:
    if "why" in header:
        raise FederationError(str(header["why"]))
    answer = header["answer"]
    try:
        loss = answer.get("loss")
        return Update(site, vector, int(answer["rows"]), math.nan if loss is None else float(loss), header["round"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FederationError(f"{site}: an answer that is none: {error!r}") from error


def _json(record: Record) -> dict[str, Any]:
    told = dict(vars(record))
    told["loss"] = None if math.isnan(record.loss) else record.loss
    found: dict[str, Any] = json.loads(json.dumps(told))
    return found


def line(record: Record) -> str:
    """A round in words."""
    parts = [f"round {record.round}: {record.counted} sites"]
    if not math.isnan(record.loss):
        parts.append(f"loss before it {record.loss:.4f}")
    parts.append(f"moved {record.moved:.3g}")
    parts += [f"{site} late by {age}" for site, age in record.late.items()]
    parts += [f"refused {why}" for why in record.refused.values()]
    return ", ".join(parts)


def serve(told: ServerFile, say: Say) -> Consensus:
    """Hold a federation from its file.

    Raises:
        FederationError: it cannot be held; what was agreed on so far is stored.
    """
    server = told.server
    asked = {
        "folder": str(server.folder / "flower"),
        "host": server.host,
        "port": server.port,
        "certificate": str(server.certificate),
        "key": str(server.key),
        "authority": str(server.authority),
        "sites": {site: str(path) for site, path in told.sites.items()},
    }
    told.policy()
    for path in (server.certificate, server.key, server.authority, *told.sites.values()):
        readable(path)
    flower = Flower(environment.python(server.flower, server.folder), "hub.py", server.folder / "flower", asked)
    try:
        flower.read()
        say(f"a federation of {', '.join(sorted(told.sites))} at {server.host}:{server.port}")
        return Server(told, flower, say).run()
    finally:
        flower.close()


def readable(path: Path) -> None:
    """Raises FederationError where a file is not there."""
    if not path.is_file():
        raise FederationError(f"{path} is not there: `twin federation keys` makes a federation's keys")
