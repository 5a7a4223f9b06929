"""What a site does with a consensus: local steps on its own rows, and the change that it sends.

Nothing else leaves it: telemetry, scaler, tags, calibration and, with EASGD, its own parameters stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.errors import FederationError
from twin.federation.consensus import Rule, pulled, start
from twin.federation.privacy import noised, promised, rho
from twin.federation.updates import Update, checked
from twin.fleet.common import Common, Unit, local_steps, loss


@dataclass(frozen=True)
class Asked:
    """What a server asks in one round.

    Attributes:
        round: of the consensus.
        rule: how sites and consensus agree.
        sites: how many are in the roster.
        steps: gradient steps to take.
    """

    round: int
    rule: Rule
    sites: int
    steps: int

    def to_json(self) -> dict[str, Any]:
        """JSON."""
        return {"round": self.round, "rule": dict(vars(self.rule)), "sites": self.sites, "steps": self.steps}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Asked:
        """The question of such JSON.

        Raises:
            FederationError: it is none.
        """
        try:
            number, sites, steps = (int(body[name]) for name in ("round", "sites", "steps"))
            rule = Rule(str(body["rule"]["name"]), float(body["rule"]["beta"]), float(body["rule"]["rho"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FederationError(f"the server's question is none: {error!r}") from error
        if number < 0 or sites < 2 or not 0 <= steps <= 100_000:
            raise FederationError(f"the server asks for {steps} steps of round {number} among {sites} sites")
        return cls(number, rule, sites, steps)


@dataclass(frozen=True)
class Privacy:
    """Differential privacy at a site.

    Args:
        clip: the greatest Euclidean length of a change.
        noise: standard deviation of the noise in each coordinate, in clips.
        epsilon: what the site gives away in all; then it sends no more.
        delta: the δ that ε is told at.
    """

    clip: float
    noise: float
    epsilon: float = 10.0
    delta: float = 1e-5


class Site:
    """One site between rounds.

    Args:
        own: (P,) its parameters after an earlier round, where it has some; it goes on from them.
        spent: ρ of the changes that were sent already; infinite where one of them bore no noise.
        secret: seeds the noise of privacy; the operating system's entropy by default.
    """

    def __init__(
        self,
        name: str,
        fresh: Common,
        unit: Unit,
        privacy: Privacy | None = None,
        own: np.ndarray | None = None,
        spent: float = 0.0,
        secret: int | None = None,
    ) -> None:
        self.name, self.unit, self.privacy, self.own, self.spent = name, unit, privacy, own, spent
        self._fresh, self._rng = fresh, np.random.default_rng(secret)

    @property
    def epsilon(self) -> float:
        """What was given away so far, ε; infinite without privacy."""
        return float("inf") if self.privacy is None else promised(self.spent, self.privacy.delta)

    def answer(self, consensus: np.ndarray, asked: Asked) -> Update:
        """Train from a consensus (P,) and say how far that led.

        Raises:
            FederationError: the consensus is no vector of this model, training led to no finite numbers, or the
                privacy of this site is used up.
        """
        size = len(self._fresh.vector())
        consensus = checked("the server", consensus, size)
        spent = self.spent + (float("inf") if self.privacy is None else rho(self.privacy.noise))
        if self.privacy is not None:
            if np.isinf(self.spent):
                raise FederationError(f"{self.name}: it has sent changes without noise: nothing can be promised")
            would = promised(spent, self.privacy.delta)
            if would > self.privacy.epsilon:
                why = f"one more change would make epsilon {would:.3g}, and {self.privacy.epsilon:g} is what it gives"
                raise FederationError(f"{self.name}: its privacy is used up: {why}")
        common = self._fresh.from_vector(consensus)
        began = self._fresh.from_vector(start(asked.rule, self.own, consensus))
        trained = local_steps(began, self.unit, asked.steps, asked.round, common, asked.rule.spring)
        own = checked(self.name, trained.vector(), size)
        change, told = own - consensus, loss(common, self.unit)
        rows = len(self.unit.grid.run)
        if asked.rule.elastic:
            self.own = pulled(asked.rule, own, consensus, asked.sites)
        if self.privacy is not None:
            change = noised(change, self.privacy.clip, self.privacy.noise, self._rng)
            told, rows = float("nan"), 0
        self.spent = spent
        return Update(self.name, change, rows, told, asked.round)
