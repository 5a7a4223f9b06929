"""Rules of consensus on quadratic losses, whose minimum and whose iterates are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from twin.errors import FederationError
from twin.federation.consensus import Rule, pulled, start, stepped
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.updates import Update, checked, weights

SITES = ("north", "south", "west")
CENTRES = np.array([[1.0, 0.0], [0.0, 2.0], [-4.0, 1.0]])
CURVES = np.array([[1.0, 4.0], [2.0, 1.0], [0.5, 0.5]])
POOLED = (CURVES * CENTRES).sum(axis=0) / CURVES.sum(axis=0)  # where the gradients of ½ Σ c (x − centre)² cancel
RATE = 0.1


def descend(x: np.ndarray, site: int, steps: int, anchor: np.ndarray, spring: float) -> np.ndarray:
    for _ in range(steps):
        x = x - RATE * (CURVES[site] * (x - CENTRES[site]) + spring * (x - anchor))
    return x


def federated(rule: Rule, rounds: int, steps: int, aggregate: str = "mean") -> tuple[Standing, list[np.ndarray]]:
    policy = Policy(SITES, rule, aggregate)
    standing, own = Standing(0, np.zeros(2)), [None, None, None]
    for _ in range(rounds):
        updates = []
        for number, site in enumerate(SITES):
            x = start(rule, own[number], standing.consensus)
            x = descend(x, number, steps, standing.consensus, rule.spring)
            updates.append(Update(site, x - standing.consensus, 100, float("nan"), standing.round))
            own[number] = pulled(rule, x, standing.consensus, len(SITES))
        standing, _ = advance(standing, updates, policy)
    return standing, own


def test_fedavg_of_one_step_is_gradient_descent_on_the_pooled_loss():
    standing, _ = federated(Rule("fedavg"), rounds=3, steps=1)
    x = np.zeros(2)
    for _ in range(3):
        x = x - RATE * (CURVES * (x - CENTRES)).sum(axis=0) / 3
    np.testing.assert_allclose(standing.consensus, x, rtol=1e-12)


def test_fedavg_of_one_step_ends_at_the_pooled_minimum_and_of_many_steps_drifts_off_it():
    once, _ = federated(Rule("fedavg"), rounds=600, steps=1)
    many, _ = federated(Rule("fedavg"), rounds=600, steps=20)
    np.testing.assert_allclose(once.consensus, POOLED, atol=1e-6)
    # at the fixed point Σ (1 − (1 − ηc)^τ)(x − centre) = 0, by coordinate
    pull = 1.0 - (1.0 - RATE * CURVES) ** 20
    np.testing.assert_allclose(many.consensus, (pull * CENTRES).sum(axis=0) / pull.sum(axis=0), atol=1e-9)
    assert np.abs(many.consensus - POOLED).max() > 0.1


def test_the_spring_of_fedprox_keeps_many_steps_nearer_to_the_pooled_minimum():
    rho = 5.0
    free, _ = federated(Rule("fedavg"), rounds=600, steps=20)
    held, _ = federated(Rule("fedprox", rho=rho), rounds=600, steps=20)
    # by coordinate a site changes by (1 − (1 − η(c + ρ))^τ) c / (c + ρ) · (centre − x̃)
    pull = (1.0 - (1.0 - RATE * (CURVES + rho)) ** 20) * CURVES / (CURVES + rho)
    np.testing.assert_allclose(held.consensus, (pull * CENTRES).sum(axis=0) / pull.sum(axis=0), atol=1e-9)
    assert np.linalg.norm(held.consensus - POOLED) < 0.5 * np.linalg.norm(free.consensus - POOLED)


def test_easgd_sites_stay_their_own_around_a_consensus_that_is_their_mean():
    standing, own = federated(Rule("easgd", beta=0.9), rounds=400, steps=5)
    np.testing.assert_allclose(standing.consensus, np.mean(own, axis=0), atol=1e-9)  # x̃ is still: Σ (x − x̃) = 0
    for site, x in enumerate(own):
        assert np.linalg.norm(x - CENTRES[site]) < np.linalg.norm(standing.consensus - CENTRES[site])


def test_one_easgd_exchange_by_hand():
    rule = Rule("easgd", beta=0.6)
    x, consensus = np.array([4.0]), np.array([1.0])
    np.testing.assert_allclose(pulled(rule, x, consensus, 3), [4.0 - 0.2 * 3.0])
    # two of three answered with changes 3 and 1: x̃ + α (3 + 1)
    np.testing.assert_allclose(stepped(rule, consensus, np.array([2.0]), answered=2, sites=3), [1.0 + 0.2 * 4.0])


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"name": "gossip"}, "no rule 'gossip'"),
        ({"beta": 0.0}, r"not in \(0, 1\]"),
        ({"beta": 1.5}, "swings"),
        ({"rho": float("nan")}, "not a positive"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict, why: str):
    with pytest.raises(FederationError, match=why):
        Rule(**rule)


def test_rows_weigh_up_to_four_times_their_median():
    np.testing.assert_allclose(weights([100, 300, 100]), [0.2, 0.6, 0.2])
    np.testing.assert_allclose(weights([100, 100, 10**12]), [1 / 6, 1 / 6, 4 / 6])
    np.testing.assert_allclose(weights([100, 100, 10**400]), [1 / 6, 1 / 6, 4 / 6])  # no float holds it


def test_rows_that_are_not_told_weigh_as_the_median_of_those_that_are():
    np.testing.assert_allclose(weights([0, 300, 100]), [200 / 600, 300 / 600, 100 / 600])
    np.testing.assert_allclose(weights([0, -5]), [0.5, 0.5])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.array([1.0, np.nan, np.inf]), "east: 2 of 3 values are not finite, the first at 1"),
        (np.array([1.0, 2.0]), r"east: a vector of shape \(2,\)"),
        (np.array([1, 2, 3]), "int64"),
        (np.array([1.0, -1e9, 0.0]), "1e\\+09"),
    ],
)
def test_a_vector_that_is_none_is_refused_by_the_name_of_its_site(values: np.ndarray, why: str):
    with pytest.raises(FederationError, match=why):
        checked("east", values, 3)
