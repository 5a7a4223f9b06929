"""The description of a plant: what it says back, and each contradiction with its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import PlantError, QuestionError
from twin.plant import Plant, Role, Tag, near

MV, CV = {"name": "u", "role": "mv"}, {"name": "y", "role": "cv"}
FINITE = st.floats(-1e6, 1e6)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20).filter(
    lambda s: not s.startswith("_") and not s.endswith("__quality") and s not in ("time", "tag", "value", "quality")
)


def body(*tags: dict, **fields: object) -> dict:
    return {"name": "Plant", "sample_period_s": 1.0, "tags": list(tags) or [MV, CV], **fields}


@st.composite
def plants(draw: st.DrawFn) -> Plant:
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique_by=str.lower))
    roles = [
        Role.MV,
        Role.CV,
        *draw(st.lists(st.sampled_from([Role.MV, Role.DV, Role.CV]), min_size=len(names) - 2, max_size=len(names) - 2)),
    ]
    tags = []
    for name, role in zip(names, roles, strict=True):
        low, high = sorted(draw(st.lists(FINITE, min_size=2, max_size=2, unique=True)))
        rate = draw(st.one_of(st.none(), st.floats(1e-6, 1e6))) if role is Role.MV else None
        tags.append(Tag(name, role, "degC", low, high, rate_limit_per_s=rate, description=draw(st.text(max_size=5))))
    return Plant(draw(st.text(max_size=10)), draw(st.floats(1e-3, 1e5)), tuple(tags))


@given(plants())
def test_a_plant_comes_back_from_its_json(plant: Plant) -> None:
    assert Plant.from_json(json.loads(json.dumps(plant.to_json()))) == plant


@given(plants())
def test_roles_part_the_tags_and_columns_find_them(plant: Plant) -> None:
    assert sorted(plant.mvs + plant.dvs + plant.cvs, key=plant.tags.index) == list(plant.tags)
    assert plant.inputs == plant.mvs + plant.dvs
    for i, name in enumerate(plant.names):
        assert (plant.column(name), plant.tag(name)) == (i, plant.tags[i])
    assert [plant.tags[i] for i in plant.columns(plant.cvs)] == list(plant.cvs)


@pytest.mark.parametrize(
    ("description", "loc", "says"),
    [
        (body(MV, CV, {**CV, "role": "dv"}), ("tags", 2, "name"), "name of tag 1"),
        (body(MV, CV, {**CV, "name": "Y"}), ("tags", 2, "name"), "name of tag 1"),
        (body({**MV, "low": 2, "high": 1}, CV), ("tags", 0, "low"), "not below"),
        (body({**MV, "low": 1, "high": 1}, CV), ("tags", 0, "low"), "not below"),
        (body(MV, {**CV, "limit_low": 5, "limit_high": 4}), ("tags", 1, "limit_low"), "not below"),
        (body(CV), ("tags",), "only CVs"),
        (body(MV), ("tags",), "no CV"),
        (body({**MV, "rate_limit_per_s": 0}, CV), ("tags", 0, "rate_limit_per_s"), "positive"),
        (body(MV, {**CV, "rate_limit_per_s": 1}), ("tags", 1, "rate_limit_per_s"), "only an MV"),
        (body({**MV, "high": float("nan")}, CV), ("tags", 0, "high"), "finite"),
        (body({**MV, "high": float("inf")}, CV), ("tags", 0, "high"), "finite"),
        (body({**MV, "dead_time_s": -1}, CV), ("tags", 0, "dead_time_s"), "negative"),
        (body({**MV, "name": "time"}, CV), ("tags", 0, "name"), "column"),
        (body({**MV, "name": "_sequence"}, CV), ("tags", 0, "name"), "column"),
        (body({**MV, "name": "y__quality"}, CV), ("tags", 0, "name"), "column"),
        (body({**MV, "name": " u"}, CV), ("tags", 0, "name"), "printable"),
        (body({**MV, "name": "u\n"}, CV), ("tags", 0, "name"), "printable"),
        (body({**MV, "name": ""}, CV), ("tags", 0, "name"), "printable"),
        (body(sample_period_s=0), ("sample_period_s",), "positive"),
        (body(sample_period_s=float("inf")), ("sample_period_s",), "positive"),
        (body(tags=[]), ("tags",), "needs tags"),
        (body({**MV, "colour": 1}, CV), ("tags", 0, "colour"), "unknown field"),
        (body({**MV, "hihg": 1}, CV), ("tags", 0, "hihg"), "did you mean high"),
        (body({"name": "u"}, CV), ("tags", 0), "role"),
        (body({**MV, "role": "pv"}, CV), ("tags", 0), "mv, dv or cv"),
    ],
)
def test_a_contradiction_is_refused_with_its_place(description: dict, loc: tuple, says: str) -> None:
    with pytest.raises(PlantError, match=says) as refused:
        Plant.from_json(description)
    assert loc in [problem.loc for problem in refused.value.problems]


@pytest.mark.parametrize(
    "description",
    [
        body(sample_period_s="fast"),
        body(sample_period_s=None),
        {"tags": [MV, CV]},
        body({**MV, "low": "0", "high": 1}, CV),
        body({**MV, "low": True}, CV),
        body({**MV, "name": 7}, CV),
        body({**MV, "role": []}, CV),
        body({**MV, "unit": 3}, CV),
        body(tags="u"),
        body(tags=["u"]),
        body(tags=7),
        [],
    ],
)
def test_whatever_the_json_it_is_a_plant_error(description: object) -> None:
    with pytest.raises(PlantError):
        Plant.from_json(description)  # type: ignore[arg-type]


def test_all_contradictions_are_named_at_once() -> None:
    with pytest.raises(PlantError, match="and 1 more") as refused:
        Plant.from_json(body({**MV, "low": 2, "high": 1}, CV, sample_period_s=-1))
    assert len(refused.value.problems) == 2


def test_an_unknown_tag_is_answered_with_near_matches() -> None:
    plant = Plant.from_json(body({**MV, "name": "FIC101"}, CV))
    with pytest.raises(QuestionError, match=r"unknown tag 'FIC100'; did you mean FIC101\?"):
        plant.tag("FIC100")
    assert near("zzz", plant.names) == ""
    assert near("dampf", ["FIC-101/Dampf Ventil", "Zulauf F-100"]) == "; did you mean FIC-101/Dampf Ventil?"
    assert near("F", ["FIC-101/Dampf Ventil", "Zulauf F-100"]) == ""


def test_a_plain_number_has_no_unit_behind_it() -> None:
    assert f"3{Tag('pump runs', Role.MV).behind}, 3{Tag('feed', Role.DV, 'm3/h').behind}" == "3, 3 m3/h"
