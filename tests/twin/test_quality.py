"""Quality: faults put into telemetry on purpose are found where they are, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twin.excitation import ENOUGH, excitation
from twin.plant import Plant, Role, Tag
from twin.quality import LISTED, assess
from twin.storage.batch import of_frame
from twin.store import Store
from twin.telemetry import Telemetry

T0 = pd.Timestamp("2026-01-01", tz="UTC")
DATA = Path(__file__).parents[2].parent / "shared" / "data"
PLANT = Plant(
    "p",
    1.0,
    (
        Tag("u1", Role.MV, "%", 0.0, 10.0),
        Tag("u2", Role.MV, "%", 0.0, 10.0),
        Tag("u3", Role.MV, "%", 0.0, 10.0),
        Tag("y1", Role.CV, "degC", 0.0, 100.0),
        Tag("y2", Role.CV, "1"),
    ),
)
N = 4000


def healthy(seed: int = 0) -> dict[str, np.ndarray]:
    """Independent steps of the MVs, noisy CVs that follow them."""
    rng = np.random.default_rng(seed)
    steps = {f"u{i}": np.repeat(rng.uniform(0, 10, N // 40), 40) for i in (1, 2, 3)}
    slow = pd.Series(steps["u1"] + steps["u2"]).ewm(alpha=0.1).mean().to_numpy()
    return steps | {"y1": 40 + slow + rng.normal(0, 0.1, N), "y2": slow - steps["u3"] + rng.normal(0, 0.1, N)}


def of(columns: dict[str, np.ndarray], seconds: np.ndarray | None = None) -> Telemetry:
    index = T0 + pd.to_timedelta(np.arange(N) if seconds is None else seconds, unit="s")
    return Telemetry.from_frame(PLANT, pd.DataFrame(columns, index=index))


def iso(second: float) -> str:
    return (T0 + pd.Timedelta(seconds=second)).isoformat()


def test_healthy_telemetry_draws_no_warning() -> None:
    report = assess(of(healthy()))
    assert report["warnings"] == []
    assert report["rows"] == N
    assert report["gaps"] == {"runs": 1, "count": 0, "total_s": 0.0, "longest": []}
    assert {tag["coverage"] for tag in report["tags"].values()} == {1.0}
    assert report["persistent_excitation"] == {"order": 8, "rank": 24, "full": 24}
    assert {mv["verdict"] for mv in report["mvs"].values()} == {"identifiable"}
    json.dumps(report, allow_nan=False)


def test_gaps_are_listed_longest_first() -> None:
    seconds = np.arange(N, dtype=float)
    seconds[1000:] += 500
    seconds[3000:] += 60
    gaps = assess(of(healthy(), seconds))["gaps"]
    assert (gaps["runs"], gaps["count"], gaps["total_s"]) == (3, 2, 501 + 61)
    assert gaps["longest"][0] == {"start": iso(999), "end": iso(1500), "seconds": 501.0}


def test_missing_frozen_and_impossible_values_are_found() -> None:
    columns = healthy()
    columns["y1"][100:700] = np.nan
    columns["y1"][2000:2005] = 150.0
    columns["y2"][3000:3500] = columns["y2"][3000]
    report = assess(of(columns))
    y1, y2 = report["tags"]["y1"], report["tags"]["y2"]
    assert (y1["missing_rows"], y1["coverage"]) == (600, 1 - 600 / N)
    assert y1["holes"]["longest"] == [{"start": iso(100), "end": iso(699), "rows": 600}]
    assert y1["above_range"] == {"count": 1, "rows": 5, "longest": [{"start": iso(2000), "end": iso(2004), "rows": 5}]}
    assert y2["frozen"] == {"count": 1, "rows": 500, "longest": [{"start": iso(3000), "end": iso(3499), "rows": 500}]}
    assert y1["frozen"]["count"] == 0
    assert [(w["code"], w["tag"]) for w in report["warnings"]] == [
        ("missing", "y1"),
        ("out_of_range", "y1"),
        ("frozen", "y2"),
    ]


def test_a_tag_that_never_repeats_a_value_is_frozen_after_20_rows() -> None:
    columns = healthy()
    columns["y1"][1000:1020] = columns["y1"][1000]
    columns["y2"][3000:3040] = columns["y2"][3000]
    tags = assess(of(columns))["tags"]
    assert tags["y1"]["frozen"]["count"] == 0
    assert tags["y2"]["frozen"] == {
        "count": 1,
        "rows": 40,
        "longest": [{"start": iso(3000), "end": iso(3039), "rows": 40}],
    }


def test_an_analyser_that_holds_its_value_is_not_frozen_and_a_constant_says_so() -> None:
    columns = healthy()
    columns["y1"] = np.repeat(columns["y1"][::15], 15)[:N]
    columns["y2"] = np.full(N, 7.0)
    report = assess(of(columns))
    assert report["tags"]["y1"]["frozen"]["count"] == 0
    assert report["tags"]["y2"]["constant"]
    assert [w["code"] for w in report["warnings"]] == ["constant"]


def test_long_lists_are_capped_and_counted() -> None:
    columns = healthy()
    columns["y1"][::50] = -1.0
    below = assess(of(columns))["tags"]["y1"]["below_range"]
    assert (below["count"], below["rows"], len(below["longest"])) == (N // 50, N // 50, LISTED)


def test_an_mv_that_never_moved_is_unidentifiable_and_one_that_hardly_did_is_weak() -> None:
    columns = healthy() | {"u1": np.full(N, 5.0), "u2": np.where(np.arange(N) < 2000, 2.0, 8.0)}
    report = assess(of(columns))
    assert (report["mvs"]["u1"]["moves"], report["mvs"]["u1"]["verdict"]) == (0, "unidentifiable")
    assert (report["mvs"]["u2"]["moves"], report["mvs"]["u2"]["verdict"]) == (1, "weak")
    assert report["mvs"]["u2"]["range_used"] == pytest.approx(0.6)
    assert report["mvs"]["u3"]["verdict"] == "identifiable"


def test_moves_are_counted() -> None:
    columns = healthy()
    expected = int((np.abs(np.diff(columns["u1"])) > 0.01 * np.ptp(columns["u1"])).sum())
    assert assess(of(columns))["mvs"]["u1"]["moves"] == expected > 90


def test_an_mv_that_moves_slowly_against_the_rows_has_moved() -> None:
    columns = healthy() | {"u1": 5 + 4 * np.sin(2 * np.pi * np.arange(N) / 1000)}  # at most 0.3 % of its range a row
    report = assess(of(columns))
    # Four periods travel the range eight times; a move is 1 % of it and less than one row's 0.31 % more.
    assert 8 / 0.0132 - 8 < report["mvs"]["u1"]["moves"] <= 800
    assert (report["mvs"]["u1"]["verdict"], report["warnings"]) == ("identifiable", [])


@pytest.mark.parametrize("unit", [1e-14, 1e-6, 1e7])
def test_an_mv_that_echoes_a_cv_is_told_in_any_unit(unit: float) -> None:
    columns = healthy()
    move = np.arange(N) % 10 == 0  # a controller ten times slower than the rows
    follows = pd.Series(np.where(move, -np.roll(columns["y2"], 1), np.nan)).ffill().to_numpy()
    plant = Plant("p", 1.0, tuple(Tag(t.name, t.role, t.unit) for t in PLANT.tags))
    told = excitation(replace(of(columns | {"u3": unit * follows}), plant=plant))["mvs"]["u3"]["feedback_r2"]
    assert told == pytest.approx(
        excitation(replace(of(columns | {"u3": follows}), plant=plant))["mvs"]["u3"]["feedback_r2"]
    )
    assert told > 0.5


@pytest.mark.parametrize("level", [0.3, 0.5, 7.3])
def test_an_mv_that_has_rested_lately_is_tied_to_none_and_excites_no_direction(level: float) -> None:
    rows = ENOUGH + 5000
    steps = np.repeat(np.random.default_rng(3).uniform(0, 10, (rows // 40, 2)), 40, axis=0)
    u1 = np.where(np.arange(rows) < 5000, steps[:, 0], level)
    values = np.column_stack([u1, steps[:, 1], np.zeros(rows), np.zeros((rows, 2))])
    found = excitation(Telemetry(PLANT, np.arange(rows).view("datetime64[ns]"), values, np.zeros(rows, np.int64)))
    assert found["mvs"]["u1"]["moves"] > 100
    assert found["tied_mvs"] == []
    assert found["persistent_excitation"] == {"order": 8, "rank": 8, "full": 16}  # u2 alone, in the rows looked at


def test_mvs_that_always_sum_to_a_constant_are_named() -> None:
    columns = healthy()
    columns["u3"] = 12.0 - columns["u1"] - columns["u2"]
    report = assess(of(columns))
    (tie,) = report["tied_mvs"]
    assert tie["constant"] == pytest.approx(12.0)
    assert tie["weights"] == {"u1": 1.0, "u2": 1.0, "u3": 1.0}
    assert report["persistent_excitation"]["rank"] == 16
    assert [w["code"] for w in report["warnings"] if w["code"] == "tied"] == ["tied"]


def closed_loop(excitation: float) -> dict[str, np.ndarray]:
    """y' = 0.9 y + 0.1 u + disturbance; u' = u − 0.5 Δy − 0.1 y, a PI controller, with excitation of its own."""
    rng = np.random.default_rng(1)
    y, u = np.zeros(N), np.zeros(N)
    for k in range(2, N):
        u[k] = u[k - 1] - 0.5 * (y[k - 1] - y[k - 2]) - 0.1 * y[k - 1] + excitation * rng.normal()
        y[k] = 0.9 * y[k - 1] + 0.1 * u[k] + 0.1 * rng.normal()
    return {"u1": u, "y1": y}


def test_a_loop_without_excitation_of_its_own_is_unidentifiable() -> None:
    echo = assess(of(healthy() | closed_loop(0.0)))["mvs"]["u1"]
    assert echo["feedback_r2"] > 0.9
    assert echo["verdict"] == "unidentifiable"
    excited = assess(of(healthy() | closed_loop(1.0)))["mvs"]["u1"]
    assert excited["feedback_r2"] < 0.5
    assert excited["verdict"] == "identifiable"


def test_the_uploads_are_summed_but_for_those_taken_back(tmp_path: Path) -> None:
    table = Store(tmp_path).plant("p")
    rows = pd.DataFrame(healthy(), index=T0 + pd.to_timedelta(np.arange(N), unit="s"))
    table.append(of_frame(rows.iloc[100:200]))
    table.append(of_frame(rows.iloc[50:150]))  # 50 late, 50 known
    table.take_back(table.append(of_frame(rows.iloc[:50] + 1)).upload)
    sums = assess(of(healthy()), table.uploads())["uploads"]
    assert (sums["count"], sums["rows_received"], sums["rows_stored"]) == (2, 200, 150)
    assert (sums["rows_duplicate"], sums["rows_late"], sums["rows_replaced"]) == (50, 50, 0)


def test_no_telemetry_is_assessed_too() -> None:
    report = assess(Telemetry.empty(PLANT))
    assert (report["rows"], report["start"]) == (0, None)
    assert {mv["verdict"] for mv in report["mvs"].values()} == {"unidentifiable"}
    json.dumps(report, allow_nan=False)


@pytest.mark.skipif(not DATA.exists(), reason=f"the plants' data is not at {DATA}")
def test_the_gas_lift_rig_is_known_to_share_its_gas() -> None:
    plant = Plant.from_json(json.loads((DATA / "gaslift" / "plant.json").read_text()))
    rows = pd.read_parquet(DATA / "gaslift" / "telemetry.parquet").set_index("time")
    (tie,) = assess(Telemetry.from_frame(plant, rows))["tied_mvs"]
    assert tie["weights"] == {"FIC104": 1.0, "FIC105": 1.0, "FIC106": 1.0}
    assert tie["constant"] == pytest.approx(7.5, abs=1e-3)
