"""A consensus becomes an ordinary twin of a site."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np

from twin.artifact import load, save
from twin.federation.adapt import adapt
from twin.federation.artifact import Consensus
from twin.federation.consensus import Rule
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.site import Asked, Site
from twin.fleet.common import Common, Unit
from twin.fleet.shape import Shape
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.summary import _common
from twin.train import Options

SHAPE = Shape.of(QuadrupleTank.plant, history=16, horizon=20)


def test_a_site_makes_the_consensus_its_own_twin(tmp_path: Path):
    sites, rule = [], Rule("fedavg")
    for number, gravity in enumerate((900.0, 1000.0)):
        telemetry = Simulator(QuadrupleTank(gravity=gravity), number).excite(300)
        sites.append(Site(f"s{number}", Common.fresh(SHAPE), Unit.of(SHAPE, telemetry)))
    standing = Standing(0, Common.fresh(SHAPE).vector().astype(np.float64))
    for _ in range(2):
        updates = [site.answer(standing.consensus, Asked(standing.round, rule, 2, 5)) for site in sites]
        standing, _ = advance(standing, updates, Policy(("s0", "s1"), rule))
    consensus = Consensus("c0ffee", SHAPE, standing.consensus.astype(np.float32), {})
    telemetry = Simulator(QuadrupleTank(), 7).excite(260)
    renamed = dataclasses.replace(
        telemetry.plant,
        tags=tuple(
            dataclasses.replace(tag, name="LI-1") if tag.name == "level_1" else tag for tag in telemetry.plant.tags
        ),
    )
    telemetry = dataclasses.replace(telemetry, plant=renamed)
    twin = adapt(consensus, telemetry, {"level_1": "LI-1"}, Options(budget_s=2.0), clock=time.process_time)
    told = twin.card["training"]["common"]
    assert told["fleet"] == "c0ffee"
    assert told["kept"] in ("common", "own")
    assert "LI-1" in twin.plant.names
    taken, left = (_common({**told, "kept": kept}) for kept in ("common", "own"))
    assert taken.startswith("It starts from the consensus of sites c0ffee: ")
    assert "errors and bands are a little too small" in taken
    assert left.startswith("The consensus of sites c0ffee was of no help: ")
    save(twin, tmp_path / "twin")
    assert load(tmp_path / "twin").id == twin.id
