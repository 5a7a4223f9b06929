"""A plant with a spectrometer through the service: described, uploaded, trained, asked, planned for."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twin.plants.nir_reactor import SPECTRUM, NirReactor

ROWS = 1200


@pytest.fixture(scope="module")
def reactor(client: httpx.Client, ended: Callable[[str], dict[str, Any]]) -> str:
    """The reactor with a champion."""
    source = NirReactor(laboratory_rows=30)
    telemetry, _ = source.telemetry(ROWS, 0)
    assert client.put("/v1/plants/nir", json=source.plant.to_json()).status_code == 201
    scalars = {name: telemetry.values[:, source.plant.column(name)] for name in source.plant.scalars}
    frames = telemetry.values[:, source.plant.vectors[SPECTRUM]]
    table = pa.table(
        {
            "time": pa.array(telemetry.frame().index),
            **{name: pa.array(values, from_pandas=True) for name, values in scalars.items()},
            SPECTRUM: pa.array(frames.astype(np.float32).tolist(), pa.list_(pa.float32())),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    receipt = client.post("/v1/plants/nir/telemetry", content=sink.getvalue(), headers=headers).json()
    assert (receipt["rows_stored"], receipt["unknown_tags"], receipt["rejected"]) == (ROWS, [], [])
    job = ended(client.post("/v1/plants/nir/twins", json={"budget_s": 4}).json()["job"])
    assert job["state"] == "succeeded", job
    return "nir"


def test_a_vector_tag_is_answered_whole(client: httpx.Client, reactor: str) -> None:
    tags = client.get(f"/v1/plants/{reactor}").json()["tags"]
    assert [(tag["name"], tag.get("shape")) for tag in tags if tag["role"] == "ov"] == [(SPECTRUM, [96])]


def test_telemetry_answers_scalars_by_default_and_a_vector_by_its_name(client: httpx.Client, reactor: str) -> None:
    values = client.get(f"/v1/plants/{reactor}/telemetry", params={"max_points": 10}).json()["values"]
    assert set(values) == set(NirReactor().plant.scalars)
    values = client.get(f"/v1/plants/{reactor}/telemetry", params={"tags": SPECTRUM, "max_points": 10}).json()["values"]
    assert list(values) == [f"{SPECTRUM}[{i}]" for i in range(96)]


def test_quality_and_report_speak_of_the_spectrum(client: httpx.Client, reactor: str) -> None:
    quality = client.get(f"/v1/plants/{reactor}/telemetry/quality").json()
    assert quality["tags"][SPECTRUM]["coverage"] == 1.0
    page = {"Accept": "text/html"}
    assert client.get(f"/v1/plants/{reactor}/telemetry/quality", headers=page).status_code == 200
    report = client.get(f"/v1/plants/{reactor}/twins/champion/report").json()
    assert report["inferred"] == {"product": SPECTRUM}
    assert client.get(f"/v1/plants/{reactor}/twins/champion/report", headers=page).status_code == 200


def test_forecasts_and_plans_read_it_and_limits_may_change(client: httpx.Client, reactor: str) -> None:
    answer = client.post(f"/v1/plants/{reactor}/predict", json={"horizon_s": 400}).json()
    assert {"product", "reactor_temperature"} <= set(answer["baseline"])
    body = client.get(f"/v1/plants/{reactor}").json()
    tags = [tag | ({"limit_high": 1.15} if tag["name"] == "product" else {}) for tag in body["tags"]]
    changed = {"name": body["name"], "sample_period_s": body["sample_period_s"], "tags": tags}
    assert client.put(f"/v1/plants/{reactor}", json=changed).status_code == 200
    objective = {"setpoints": {"product": {"value": 1.05}}}
    plan = client.post(f"/v1/plants/{reactor}/optimize", json={"horizon_s": 800, "objective": objective}).json()
    assert plan["status"] in ("optimal", "feasible", "relaxed"), plan
    assert 50.0 <= plan["next"]["feed"] <= 350.0
