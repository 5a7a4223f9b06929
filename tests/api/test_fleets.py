"""Fleets over REST: learnt by a job from several plants, listed, and what a new plant starts from."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from api.cli.main import app as twin
from api.jobs import fleets as fleets_job
from api.jobs.diary import Diary
from api.jobs.fleets import FleetTraining
from api.jobs.queue import Jobs, LeaseLostError
from api.records.catalog import Catalog
from api.records.db import Database
from api.records.fleets import Fleets
from api.settings import Settings
from tests.twin.fleet.units import plant, unit
from twin.dynamics.region import Region
from twin.fleet.common import Common
from twin.fleet.fleet import Fleet
from twin.fleet.learn import Source
from twin.fleet.prior import Prior
from twin.fleet.shape import Shape
from twin.scaling import Scaler
from twin.store import Store
from twin.telemetry import Telemetry

KEY = "the-key-of-these-tests"
OTHER = ("FIC-1", "TI-2", "LI-3")
TAGS = {"flow": "FIC-1", "ambient": "TI-2", "level": "LI-3"}
Post = Callable[[str, Telemetry], dict[str, Any]]
Ended = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def units(client: httpx.Client, post_telemetry: Post) -> Iterator[list[str]]:
    """Three plants alike, one with other names, and a new one with few rows."""
    names = ("unit-1", "unit-2", "unit-3", "unit-new")
    for number, name in enumerate(names):
        of = plant(name, OTHER) if name == "unit-3" else plant(name)
        client.put(f"/v1/plants/{name}", json=of.to_json())
        rows = 110 if name == "unit-new" else 400
        post_telemetry(name, unit(name, rows, 1.0 + 0.2 * number, number, 0.3, of, 0.05))
    yield list(names)
    for name in names:
        client.delete(f"/v1/plants/{name}")


@pytest.fixture(scope="module")
def learnt(client: httpx.Client, units: list[str], ended: Ended) -> dict[str, Any]:
    """The fleet of the first three."""
    members = [{"plant": "unit-1"}, {"plant": "unit-2"}, {"plant": "unit-3", "tags": TAGS}]
    answer = client.post("/v1/fleets/pumps", json={"units": members, "horizon_s": 160.0, "budget_s": 1.0})
    assert answer.status_code == 202, answer.text
    job = ended(answer.json()["job"])
    assert job["state"] == "succeeded", job
    assert (job["plant"], job["fleet"], job["result"]["fleet"]) == ("unit-1", "pumps", "pumps")
    found: dict[str, Any] = client.get("/v1/fleets/pumps").json()
    assert found["version"] == job["result"]["version"]
    return found


def test_a_fleet_tells_its_units_and_tags(client: httpx.Client, learnt: dict[str, Any]) -> None:
    assert [(one["unit"], one["rows"], one["tags"]) for one in learnt["units"]] == [
        ("unit-1", 400, {}),
        ("unit-2", 400, {}),
        ("unit-3", 400, TAGS),
    ]
    assert learnt["tags"][0] == {"name": "flow", "role": "mv", "unit": "m3/h"}
    assert (learnt["sample_period_s"], learnt["horizon_s"]) == (10.0, 160.0)
    assert [fleet["fleet"] for fleet in client.get("/v1/fleets").json()["items"]] == ["pumps"]


def test_a_new_plant_starts_from_a_fleet(client: httpx.Client, learnt: dict[str, Any], ended: Ended) -> None:
    alone = ended(client.post("/v1/plants/unit-new/twins", json={"budget_s": 1e-3}).json()["job"])
    assert "too few rows" in alone["error"]["detail"]
    assert alone["fleet"] is None
    order = {"budget_s": 1e-3, "from_fleet": "pumps"}
    job = ended(client.post("/v1/plants/unit-new/twins", json=order).json()["job"])
    assert job["state"] == "succeeded", job
    name = job["result"]["twin"]
    card = client.get(f"/v1/plants/unit-new/twins/{name}/report").json()
    assert (card["training"]["common"]["fleet"], card["training"]["common"]["units"]) == (learnt["version"], 3)
    question = {"twin": name, "horizon_s": 60.0, "moves": {"flow": [{"after_s": 0.0, "value": 1.0}]}}
    assert client.post("/v1/plants/unit-new/predict", json=question).status_code == 200
    page = client.get(f"/v1/plants/unit-new/twins/{name}/report", headers={"Accept": "text/html"}).text
    assert "(3 units)" in page


def test_what_cannot_be_is_refused(client: httpx.Client, learnt: dict[str, Any], ended: Ended) -> None:
    def refused(path: str, body: dict[str, Any]) -> httpx.Response:
        return client.post(path, json=body)

    one = {"units": [{"plant": "unit-1"}]}
    assert refused("/v1/fleets/pumps", one).status_code == 422
    assert "twice" in refused("/v1/fleets/pumps", {"units": [{"plant": "unit-1"}] * 2}).json()["detail"]
    assert refused("/v1/fleets/pumps", {"units": [{"plant": "unit-1"}, {"plant": "nobody"}]}).status_code == 404
    twins = "/v1/plants/unit-new/twins"
    assert "did you mean pumps" in refused(twins, {"from_fleet": "pump"}).json()["detail"]
    assert refused(twins, {"from_fleet": "pumps", "from_twin": "champion"}).status_code in (404, 422)
    assert "from_fleet" in refused(twins, {"fleet_tags": {"flow": "flow"}}).json()["detail"]
    unmapped = {"units": [{"plant": "unit-1"}, {"plant": "unit-3"}], "budget_s": 1.0}
    job = ended(refused("/v1/fleets/pumps", unmapped).json()["job"])
    assert "there is no tag 'flow'" in job["error"]["detail"]
    assert client.get("/v1/fleets/pumps").json()["version"] == learnt["version"]


def test_a_key_for_some_plants_sees_their_fleets_only(
    client: httpx.Client, address: str, learnt: dict[str, Any]
) -> None:
    body = {"name": "one", "scopes": ["read", "train"], "plants": ["unit-1", "unit-2"]}
    text = client.post("/v1/keys", json=body).json()["key"]
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {text}"}) as some:
        assert some.get("/v1/fleets").json()["items"] == []
        assert some.get("/v1/fleets/pumps").status_code == 403
        units = [{"plant": "unit-1"}, {"plant": "unit-3", "tags": TAGS}]
        assert some.post("/v1/fleets/mine", json={"units": units}).status_code == 403
        own = {"units": [{"plant": "unit-1"}, {"plant": "unit-2"}]}
        assert (
            some.post("/v1/fleets/pumps", json=own).status_code == 403
        )  # it would replace what unit-3 has its part in


def test_a_fleet_that_cannot_be_read_does_not_hide_the_others(
    client: httpx.Client, settings: Settings, learnt: dict[str, Any]
) -> None:
    of_before = settings.fleets / "gauges" / "1a2b3c"
    of_before.mkdir(parents=True)
    (of_before / "manifest.json").write_text('{"format": 1}')
    (of_before / "weights.safetensors").write_bytes(b"")
    (of_before.parent / "current.json").write_text('{"version": "1a2b3c", "units": []}')
    try:
        listed = client.get("/v1/fleets", params={"limit": 1})
        assert listed.status_code == 200, listed.text
        assert [fleet["fleet"] for fleet in listed.json()["items"]] == ["pumps"]
        assert "another format" in client.get("/v1/fleets/gauges").json()["detail"]
    finally:
        assert client.delete("/v1/fleets/gauges").status_code == 204


def test_a_job_that_was_cancelled_at_the_end_makes_no_fleet_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    db = Database(settings.database)
    db.migrate()
    jobs = Jobs(db, lease_s=60)
    training = FleetTraining(db, jobs, Catalog(db), Store(settings.telemetry), settings, "worker")
    monkeypatch.setattr(training, "_source", lambda _: Source(unit("p", 40, 1.0, 0)))
    shape = Shape(("valve",), (), ("level",), ("%", "m"), 10.0, history=8, horizon=6)
    d, one, card = shape.coefficients, np.ones(1), {"units": [], "residual": {"out_of_unit": 1.0}}
    prior, region = Prior(np.zeros((d, 1)), np.eye(d)[None], one), Region(jnp.zeros(3), jnp.eye(3))
    fleet = Fleet("c0ffee", Common.fresh(shape), prior, Scaler(one, one, one, one), True, region, card)
    fleets = Fleets(settings.fleets)

    def work(cancelled: bool) -> str:
        jobs.submit("p", {"fleet": "pumps", "units": [{"plant": "p"}]}, "key")
        job = jobs.lease("worker")
        assert job is not None

        def learnt(*_: Any) -> Fleet:
            if cancelled:
                jobs.cancel(job.id, "key")
            return fleet

        monkeypatch.setattr(fleets_job, "learn", learnt)
        training.run(job, threading.Event(), Diary(jobs, job.id))
        return job.id

    with pytest.raises(LeaseLostError):
        work(cancelled=True)
    assert fleets.names() == []
    assert list((settings.fleets / "pumps").iterdir()) == []
    assert jobs.get(work(cancelled=False)).result == {"fleet": "pumps", "version": "c0ffee"}
    assert fleets.current("pumps") == {"version": "c0ffee", "units": []}
    db.close()


def test_the_command_line_learns_and_lists(
    address: str, learnt: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TWIN_URL", address)
    monkeypatch.setenv("TWIN_KEY", KEY)
    run = CliRunner()
    maps = tmp_path / "maps.json"
    maps.write_text(json.dumps({"unit-3": TAGS}))
    words = ["fleet", "learn", "again", "unit-1", "unit-3", "--tags", str(maps), "--detach", "--json"]
    job = json.loads(run.invoke(twin, words).stdout)
    assert run.invoke(twin, ["jobs", "cancel", job["job"]]).exit_code == 0
    listed = json.loads(run.invoke(twin, ["fleet", "list", "--json"]).stdout)
    assert [(fleet["fleet"], len(fleet["units"])) for fleet in listed] == [("pumps", 3)]
    shown = run.invoke(twin, ["fleet", "list"]).stdout
    assert ("pumps" in shown, "flow, ambient, level" in shown) == (True, True)
    maps.write_text("[1]")
    assert run.invoke(twin, words).exit_code == 2
    wrong = run.invoke(twin, ["train", "unit-new", "--from-fleet", "pumps", "--fleet-tag", "flow"])
    assert (wrong.exit_code, "FLEET=OWN" in wrong.output) == (2, True)


def test_a_fleet_is_forgotten(client: httpx.Client, learnt: dict[str, Any]) -> None:
    assert client.delete("/v1/fleets/pumps").status_code == 204
    assert client.get("/v1/fleets/pumps").status_code == 404
    assert client.get("/v1/fleets").json()["items"] == []
    assert client.delete("/v1/fleets/pumps").status_code == 404
