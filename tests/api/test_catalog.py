"""Which twin answers: one look at the database tells the same as the looks one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.records.catalog import Catalog
from api.records.db import Database
from api.records.tables import AliasRow, TwinRow
from twin.errors import NotFoundError
from twin.plants.quadruple_tank import QuadrupleTank

PLANT = QuadrupleTank.plant


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    db = Database(f"sqlite:///{tmp_path / 'twin.db'}")
    db.migrate()
    catalog = Catalog(db)
    for slug in ("tank", "other"):
        catalog.put_plant("boss", slug, PLANT, None, None)
    with db.write() as session:
        for plant, name in (("tank", "a"), ("tank", "b"), ("other", "c")):
            session.add(TwinRow(id=name, plant=plant, plant_version=1, data_version=1, job="j", summary={}))
        session.flush()
        session.add(AliasRow(plant="tank", alias="champion", twin="b"))
        session.add(AliasRow(plant="tank", alias="c", twin="a"))  # an alias wins over the id of another plant's twin
    yield catalog
    db.close()


@pytest.mark.parametrize(("name", "twin"), [("a", "a"), ("champion", "b"), ("c", "a")])
def test_a_twin_answers_by_its_id_or_an_alias(catalog: Catalog, name: str, twin: str) -> None:
    found, plant = catalog.serving("tank", name)
    assert (found, plant.version, plant.plant) == (twin, 1, PLANT)
    assert catalog.twin("tank", name).id == twin


def test_the_plant_is_the_one_of_now(catalog: Catalog) -> None:
    catalog.serving("tank", "champion")
    catalog.put_plant("boss", "tank", replace(PLANT, name="Renamed"), None, None)
    _, plant = catalog.serving("tank", "champion")
    assert (plant.version, plant.plant.name) == (2, "Renamed")


def test_what_there_is_not_is_refused_with_what_there_is(catalog: Catalog) -> None:
    for slug, name, told in (("tank", "champoin", "champion"), ("other", "champion", "no twin"), ("tnk", "a", "tank")):
        with pytest.raises(NotFoundError, match=told):
            catalog.serving(slug, name)
