"""One round with sites that lie, fall silent or are late."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from twin.errors import FederationError
from twin.federation.consensus import Rule
from twin.federation.robust import krum
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.updates import Update

ROSTER = ("a", "b", "c", "d", "e")
FEDAVG = Policy(ROSTER, Rule("fedavg"), "mean")
AT_ZERO = Standing(3, np.zeros(2))


def update(site: str, change: list[float], rows: int = 10, loss: float = 1.0, of: int = 3) -> Update:
    return Update(site, np.array(change), rows, loss, of)


def test_a_round_with_one_site_is_refused():
    with pytest.raises(FederationError, match=r"at least 2 sites, and only a can be counted.*own parameters"):
        advance(AT_ZERO, [update("a", [1.0, 1.0])], FEDAVG)
    with pytest.raises(FederationError, match="at least 2 sites"):
        Policy(("a",))


def test_a_site_of_nan_is_named_and_the_others_go_on():
    standing, record = advance(
        AT_ZERO, [update("a", [1.0, 3.0]), update("b", [3.0, 1.0]), update("c", [np.nan, 0.0])], FEDAVG
    )
    np.testing.assert_allclose(standing.consensus, [2.0, 2.0])
    assert record.taken == ("a", "b")
    assert record.refused == {"c": "c: 1 of 2 values are not finite, the first at 0"}
    assert standing.round == record.round == 4


def test_where_refusals_leave_one_site_the_round_says_all_of_it():
    with pytest.raises(FederationError, match=r"only a can be counted.*Refused: c: 2 of 2 values are not finite"):
        advance(AT_ZERO, [update("a", [1.0, 1.0]), update("c", [np.inf, np.nan])], FEDAVG)


def test_a_stranger_is_refused():
    updates = [update("a", [1.0, 0.0]), update("b", [1.0, 0.0]), update("mallory", [9.0, 9.0])]
    assert advance(AT_ZERO, updates, FEDAVG)[1].refused == {"mallory": "mallory: not in the roster"}


def test_a_late_update_counts_less_and_too_late_a_one_not_at_all():
    updates = [update("a", [0.0, 0.0]), update("b", [3.0, 0.0], of=0), update("c", [1.0, 0.0], of=1)]
    standing, record = advance(AT_ZERO, updates, Policy(ROSTER, Rule("fedavg"), "mean", late_rounds=2))
    share = (1 / np.sqrt(3)) / (1 + 1 / np.sqrt(3))
    np.testing.assert_allclose(standing.consensus, [share, 0.0])
    assert record.late == {"c": 2}
    assert "3 rounds old" in record.refused["b"]


def test_an_update_of_a_round_to_come_is_refused():
    updates = [update("a", [0.0, 0.0]), update("b", [1.0, 0.0]), update("c", [1.0, 0.0], of=4)]
    assert set(advance(AT_ZERO, updates, FEDAVG)[1].refused) == {"c"}


def test_a_site_counts_once_by_its_newest_update():
    updates = [update("a", [2.0, 0.0]), update("b", [9.0, 0.0], of=2), update("b", [4.0, 0.0])]
    np.testing.assert_allclose(advance(AT_ZERO, updates, FEDAVG)[0].consensus, [3.0, 0.0])


def test_losses_are_averaged_by_rows_over_the_sites_that_tell():
    updates = [update("a", [0.0, 0.0], 10, 1.0), update("b", [0.0, 0.0], 30, 2.0), update("c", [0, 0.0], 10, np.nan)]
    assert advance(AT_ZERO, updates, FEDAVG)[1].loss == pytest.approx((10 * 1.0 + 30 * 2.0) / 40)


@pytest.mark.parametrize("aggregate", ["median", "trimmed_mean", "krum"])
def test_a_poisoned_site_moves_robust_aggregates_by_nothing_much(aggregate: str):
    honest = [update(site, [1.0 + 0.1 * number, -1.0]) for number, site in enumerate("abcd")]
    standing, _ = advance(AT_ZERO, [*honest, update("e", [-5000.0, 5000.0])], Policy(ROSTER, Rule("fedavg"), aggregate))
    assert 1.0 <= standing.consensus[0] <= 1.3
    assert standing.consensus[1] == -1.0


def test_clipping_bounds_what_a_poisoned_site_does_and_the_mean_does_not():
    updates = [update(site, [1.0, 0.0]) for site in "abcd"] + [update("e", [-5000.0, 0.0])]
    mean = advance(AT_ZERO, updates, FEDAVG)[0].consensus
    clipped = advance(AT_ZERO, updates, Policy(ROSTER, Rule("fedavg"), "clipped_mean"))[0].consensus
    np.testing.assert_allclose(mean, [(4 - 5000) / 5, 0.0])
    np.testing.assert_allclose(clipped, [(4 - 1) / 5, 0.0])  # its length, but not its direction, is the median's


def test_multi_krum_by_hand():
    # f = 1: each change is scored by its two nearest, and four are averaged. On a line at 0, 1, 2, 3 and 100 the
    # last scores (97² + 98²); the others at most 1 + 4.
    updates = [update(site, [at, 0.0]) for site, at in zip(ROSTER, [0.0, 1.0, 2.0, 3.0, 100.0], strict=True)]
    standing, _ = advance(AT_ZERO, updates, Policy(ROSTER, Rule("fedavg"), "krum"))
    np.testing.assert_allclose(standing.consensus, [1.5, 0.0])


def test_multi_krum_needs_no_copy_for_each_pair_of_sites():
    changes = np.random.default_rng(0).standard_normal((50, 10_000))
    tracemalloc.start()
    try:
        krum(changes, np.full(50, 0.02))
        assert tracemalloc.get_traced_memory()[1] < 10 * changes.nbytes
    finally:
        tracemalloc.stop()


def test_krum_with_fewer_than_five_sites_is_refused():
    with pytest.raises(FederationError, match="krum needs five"):
        Policy(ROSTER[:4], aggregate="krum")
    with pytest.raises(FederationError, match=r"krum needs five.*4 answered"):
        advance(AT_ZERO, [update(site, [1.0, 1.0]) for site in "abcd"], Policy(ROSTER, aggregate="krum"))
