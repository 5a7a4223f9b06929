"""One round of a federation: the updates that came, those refused and why, and the consensus after it.

The same function serves the server over the network and rounds inside one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from twin.errors import FederationError
from twin.federation.consensus import Rule, stepped
from twin.federation.robust import AGGREGATES
from twin.federation.updates import Update, checked, weights

LEAST = 2  # sites a round


@dataclass(frozen=True)
class Policy:
    """How a federation holds its rounds.

    Args:
        sites: the roster.
        rule: EASGD, FedAvg or FedProx.
        aggregate: one of `robust.AGGREGATES`.
        late_rounds: an update that started from a consensus this many rounds older is still taken, at less weight.

    Raises:
        FederationError: fewer than two sites, a name twice, or no such aggregate.
    """

    sites: tuple[str, ...]
    rule: Rule = field(default_factory=Rule)
    aggregate: str = "clipped_mean"
    late_rounds: int = 2

    def __post_init__(self) -> None:
        if len(set(self.sites)) != len(self.sites):
            raise FederationError(f"a site's name stands twice in the roster: {', '.join(self.sites)}")
        if len(self.sites) < LEAST:
            raise FederationError(_alone(self.sites))
        if self.aggregate not in AGGREGATES:
            raise FederationError(f"no aggregate '{self.aggregate}': there are {', '.join(AGGREGATES)}")
        if self.aggregate == "krum" and len(self.sites) < 5:
            raise FederationError(f"krum needs five sites at least, and the roster has {len(self.sites)}")


@dataclass(frozen=True)
class Standing:
    """Where a federation is.

    Attributes:
        round: rounds held.
        consensus: (P,) float64.
    """

    round: int
    consensus: np.ndarray


@dataclass(frozen=True)
class Record:
    """What a round did: JSON once `vars` of it.

    Attributes:
        round: its number, from 1.
        taken: sites whose updates count.
        late: of them, by how many rounds.
        refused: sites whose updates do not, and why.
        loss: mean of the losses the sites told, by rows; NaN where none did.
        moved: the length of the consensus' step.
        counted: how many sites it counts; with secure aggregation all that is known of them.
        norms: lengths of their changes.
    """

    round: int
    taken: tuple[str, ...]
    late: Mapping[str, int]
    refused: Mapping[str, str]
    loss: float
    moved: float
    counted: int
    norms: Mapping[str, float] = field(default_factory=dict)


def advance(
    standing: Standing, updates: Sequence[Update], policy: Policy, silent: Mapping[str, str] | None = None
) -> tuple[Standing, Record]:
    """The consensus after one round, and what the round did.

    Args:
        silent: sites that sent no update, and why.

    A late update counts by 1 / √(1 + age), as in C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization",
    2019. A site counts once a round, by its newest update.

    Raises:
        FederationError: fewer than two updates can be taken; each refusal is named. The consensus stays as it is.
    """
    size = len(standing.consensus)
    taken: dict[str, Update] = {}
    refused = dict(silent or {})
    for update in sorted(updates, key=lambda update: update.round):
        try:
            taken[update.site] = _usable(update, standing, policy, size)
            refused.pop(update.site, None)
        except FederationError as error:
            refused[update.site] = error.detail
    if len(taken) < LEAST:
        why = "; ".join(refused.values())
        raise FederationError(_alone(tuple(taken)) + (f" Refused: {why}." if why else ""))
    counted = [taken[site] for site in sorted(taken)]
    age = np.array([standing.round - update.round for update in counted], np.float64)
    by_rows = weights(update.rows for update in counted)
    share = (np.full(len(counted), 1.0 / len(counted)) if policy.rule.elastic else by_rows) / np.sqrt(1.0 + age)
    changes = np.stack([update.change for update in counted])
    change = AGGREGATES[policy.aggregate](changes, share / share.sum())
    consensus = stepped(policy.rule, standing.consensus, change, len(counted), len(policy.sites))
    record = Record(
        round=standing.round + 1,
        taken=tuple(taken[site].site for site in sorted(taken)),
        late={update.site: int(old) for update, old in zip(counted, age, strict=True) if old > 0},
        refused=refused,
        loss=_mean_loss(counted, by_rows),
        moved=float(np.linalg.norm(consensus - standing.consensus)),
        counted=len(counted),
        norms={update.site: float(np.linalg.norm(update.change)) for update in counted},
    )
    return Standing(standing.round + 1, consensus), record


def advance_by_mean(standing: Standing, mean: np.ndarray, counted: int, policy: Policy) -> tuple[Standing, Record]:
    """The consensus after a round of which only the mean (P,) of `counted` changes is known (secure aggregation).

    Raises:
        FederationError: fewer than two sites were counted.
    """
    if counted < LEAST:
        raise FederationError(_alone(()))
    consensus = stepped(policy.rule, standing.consensus, mean, counted, len(policy.sites))
    moved = float(np.linalg.norm(consensus - standing.consensus))
    return Standing(standing.round + 1, consensus), Record(standing.round + 1, (), {}, {}, float("nan"), moved, counted)


def _usable(update: Update, standing: Standing, policy: Policy, size: int) -> Update:
    if update.site not in policy.sites:
        raise FederationError(f"{update.site}: not in the roster")
    age = standing.round - update.round
    if not 0 <= age <= policy.late_rounds:
        raise FederationError(f"{update.site}: its update is {age} rounds old; {policy.late_rounds} at most are taken")
    return replace(update, change=checked(update.site, update.change, size))


def _mean_loss(updates: Sequence[Update], shares: np.ndarray) -> float:
    told = np.array([update.loss for update in updates], np.float64)
    known = np.isfinite(told)
    return float(shares[known] @ told[known] / shares[known].sum()) if known.any() else float("nan")


def _alone(sites: tuple[str, ...]) -> str:
    who = f"only {sites[0]}" if sites else "none"
    return (
        f"a federation round needs at least {LEAST} sites, and {who} can be counted: with one, the consensus would be "
        "that site's own parameters."
    )
