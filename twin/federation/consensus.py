"""Rules by which sites agree on one parameter vector: EASGD, FedAvg, FedProx.

    FedAvg   x_i starts at x̃;   τ steps of x ← x − ηg                   x̃ ← x̃ + Σ w_i (x_i − x̃)
    FedProx  x_i starts at x̃;   τ steps of x ← x − η(g + ρ(x − x̃))      x̃ ← x̃ + Σ w_i (x_i − x̃)
    EASGD    x_i stays its own; τ steps of x ← x − ηg, then             x̃ ← x̃ + α Σ (x_i − x̃)
             x_i ← x_i − α(x_i − x̃)

In all of them a site sends x_i − x̃, of the x̃ it was sent. With β = α · sites, α Σ is β times the mean.

Sources: B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017;
T. Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020; S. Zhang, A. Choromanska, Y. LeCun, "Deep
learning with Elastic Averaging SGD", NeurIPS 2015, algorithm 1 with communication period τ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twin.errors import FederationError

RULES = ("easgd", "fedavg", "fedprox")


@dataclass(frozen=True)
class Rule:
    """One of `RULES` and its numbers.

    Args:
        name: "easgd", "fedavg" or "fedprox".
        beta: of EASGD, the share of the way to the mean of the sites that the consensus goes, in (0, 1].
        rho: of FedProx, the stiffness of the spring to the consensus.

    Raises:
        FederationError: there is no such rule, or a number makes no sense.
    """

    name: str = "easgd"
    beta: float = 0.9
    rho: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise FederationError(f"no rule '{self.name}': there are {', '.join(RULES)}")
        if not 0.0 < self.beta <= 1.0:
            raise FederationError(f"beta is {self.beta:g}, not in (0, 1]: beyond 1 the consensus swings")
        if not (math.isfinite(self.rho) and self.rho >= 0.0):
            raise FederationError(f"rho is {self.rho:g}, not a positive number")

    @property
    def elastic(self) -> bool:
        """Whether sites keep parameters of their own between rounds, and weigh alike."""
        return self.name == "easgd"

    @property
    def spring(self) -> float:
        """ρ of the local loss: nonzero for FedProx alone."""
        return self.rho if self.name == "fedprox" else 0.0

    def alpha(self, sites: int) -> float:
        """α of EASGD among that many sites."""
        return self.beta / sites


def start(rule: Rule, own: np.ndarray | None, consensus: np.ndarray) -> np.ndarray:
    """Where a site begins its local steps, (P,): EASGD from its own parameters, once it has some."""
    return own if rule.elastic and own is not None else consensus


def pulled(rule: Rule, own: np.ndarray, consensus: np.ndarray, sites: int) -> np.ndarray:
    """A site's parameters (P,) after the exchange: EASGD draws them towards the consensus it was sent."""
    return own - rule.alpha(sites) * (own - consensus) if rule.elastic else own


def stepped(rule: Rule, consensus: np.ndarray, change: np.ndarray, answered: int, sites: int) -> np.ndarray:
    """The consensus (P,) after a round whose `answered` changes became one (P,); of EASGD, α times their sum."""
    return consensus + (rule.alpha(sites) * answered if rule.elastic else 1.0) * change
