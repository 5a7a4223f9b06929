"""Step tests over REST, with a twin and without."""

from __future__ import annotations

import io
import itertools
from typing import Any

import httpx
import pandas as pd

from api.http.answers import StepTestAnswer
from twin.moves import Envelope
from twin.plants.quadruple_tank import QuadrupleTank

PATH = "/v1/plants/{}/step-tests"


def test_with_a_twin_levels_keep_their_limits_as_foreseen(client: httpx.Client, trained: dict[str, Any]) -> None:
    ask = {"settling_s": 400.0, "limits": {"level_1": {"high": 17.0}}}
    answer = client.post(PATH.format("tank"), json=ask)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    StepTestAnswer.model_validate(found)
    assert found["twin"] == trained["result"]["twin"]
    assert len(found["times"]) == 16 * 80
    for tag in QuadrupleTank.plant.mvs:
        values = found["moves"][tag.name]
        for before, value in itertools.pairwise(values):
            assert Envelope.of(tag, 5.0).admits(value, before)
    assert found["cvs"]["level_1"]["high"] <= 17.0 or any("level_1" in note for note in found["notes"])
    table = client.post(PATH.format("tank"), json=ask, headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    frame = pd.read_csv(io.StringIO(table.text))
    assert frame["pump_1"].tolist() == found["moves"]["pump_1"]


def test_without_twin_or_telemetry_the_present_and_settling_time_are_asked_for(client: httpx.Client) -> None:
    assert client.put("/v1/plants/new-tank", json=QuadrupleTank.plant.to_json()).status_code in (200, 201)
    path = PATH.format("new-tank")
    refused = client.post(path, json={"settling_s": 400.0})
    assert (refused.status_code, "pump_1" in refused.json()["detail"]) == (422, True)
    present = {"pump_1": 3.0, "pump_2": 3.0}
    refused = client.post(path, json={"present": present})
    assert (refused.status_code, "settling_s" in refused.json()["detail"]) == (422, True)
    found = client.post(path, json={"present": present, "settling_s": 400.0, "signal": "prbs"}).json()
    assert (found["twin"], found["cvs"]) == (None, {})
    assert set(found["mvs"]) == {"pump_1", "pump_2"}
    assert client.post(path, json={"present": {"level_1": 3.0}}).status_code == 422
