"""Both clients against a running service: frames in, a twin, answers and frames out."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from api.client import frames, types
from api.client.calls import Calls
from api.client.clients import AsyncClient, Client
from api.client.errors import InvalidError, JobError, NotFoundError, UnauthorizedError
from api.client.retry import Retry
from api.client.uploads import headers_of
from tests.api.client import types_of_openapi
from twin.plants.quadruple_tank import QuadrupleTank
from twin.telemetry import Telemetry

KEY = "the-key-of-these-tests"
PLANT: Any = QuadrupleTank.plant.to_json()


@pytest.fixture
def twin(address: str, client: Any) -> Iterator[Client]:
    with Client(address, KEY) as found:
        yield found


def test_a_frame_goes_in_and_comes_back(twin: Client, measured: Telemetry) -> None:
    twin.put_plant("by-frame", PLANT)
    frame = measured.frame().iloc[:100]
    receipt = twin.upload("by-frame", frame)
    assert (receipt["rows_received"], receipt["rows_stored"], receipt["rejected"]) == (100, 100, [])
    back = twin.frame("by-frame")
    pd.testing.assert_frame_equal(back[list(frame.columns)], frame, check_freq=False, check_index_type=False)
    assert back.index.tz is not None
    some = twin.telemetry("by-frame", start=frame.index[10].to_pydatetime(), end=str(frame.index[12].isoformat()))
    shown = frames.series(some)
    np.testing.assert_allclose(shown["level_1"], frame["level_1"].iloc[10:13], rtol=1e-12)
    with pytest.raises(ValueError, match="times as its index"):
        twin.upload("by-frame", frame.reset_index(drop=True))
    assert [upload["upload"] for upload in twin.uploads("by-frame")] == [receipt["upload"]]
    twin.take_back("by-frame", receipt["upload"])
    assert twin.telemetry("by-frame")["times"] == []
    twin.delete_plant("by-frame")
    with pytest.raises(NotFoundError, match="no plant 'by-frame'"):
        twin.plant("by-frame")


def test_a_file_tells_its_progress(twin: Client, measured: Telemetry, tmp_path: Path) -> None:
    twin.put_plant("by-path", PLANT)
    path = tmp_path / "week.csv"
    frame = pd.concat([measured.frame()] * 4)
    frame.index = pd.date_range("2026-02-01", periods=len(frame), freq="5s", tz="UTC", name="time")
    frame.to_csv(path)
    told: list[tuple[int, int]] = []
    twin.upload("by-path", path, on_progress=lambda sent, total: told.append((sent, total)))
    size = path.stat().st_size
    assert len(told) > 1
    assert told[-1] == (size, size)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    again = twin.upload("by-path", path, idempotency_key="week-5")
    assert (again["rows_stored"], again["rows_duplicate"]) == (0, len(frame))
    assert twin.upload("by-path", path, idempotency_key="week-5") == again


def test_formats_are_told_by_the_ending() -> None:
    assert headers_of(Path("a/b.csv")) == {"Content-Type": "text/csv"}
    assert headers_of(Path("B.2026.CSV.GZ")) == {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    assert headers_of(Path("b.parquet"))["Content-Type"] == "application/vnd.apache.parquet"
    for name in ("b", "b.xlsx", ".gz", "b.gz"):
        with pytest.raises(ValueError, match=r"end in \.csv"):
            headers_of(Path(name))


def test_a_job_is_waited_for(twin: Client) -> None:
    twin.put_plant("by-nothing-2", PLANT)
    job = twin.train("by-nothing-2", budget_s=5)
    states = []
    with pytest.raises(JobError, match="rows"):
        twin.wait(job, on_progress=lambda job: states.append(job["state"]), timeout_s=120)
    assert states[-1] == "failed"
    assert [event.kind for event in twin.events(job["job"])][-1] == "state"
    assert next(twin.jobs(plant="by-nothing-2"))["job"] == job["job"]


def test_questions_and_their_frames(twin: Client, trained: dict[str, Any], measured: Telemetry) -> None:
    steps: Any = {"pump_1": [(0, 3.0), (60, 3.2)], "pump_2": 2.5}
    answer = twin.predict("tank", horizon_s=300, scenarios={"up": steps, "one": {"pump_1": 3.1}}, coverage=0.8)
    assert [scenario["name"] for scenario in answer["scenarios"]] == ["up", "one"]
    table = frames.forecast(answer)
    assert list(table.columns.levels[0]) == ["baseline", "one", "up"]
    assert table.shape == (60, 3 * 4 * 3)
    np.testing.assert_array_equal(table["up", "level_2", "low"], answer["scenarios"][0]["cvs"]["level_2"]["low"])
    assert table.index[0] == pd.Timestamp(answer["times"][0])
    moves = pd.Series(answer["scenarios"][0]["moves"]["pump_1"])
    assert moves.iloc[-1] == 3.2
    assert (moves.diff().abs().dropna() <= 0.25 + 1e-12).all()  # the rate limit, 0.05 V/s
    given = twin.predict("tank", horizon_s=300, history=measured.frame())
    np.testing.assert_allclose(given["baseline"]["level_1"]["mean"], answer["baseline"]["level_1"]["mean"], rtol=1e-5)
    before = twin.predict("tank", horizon_s=300, at=measured.frame().index[500].to_pydatetime())
    assert before["at"] < answer["at"]

    plan = twin.optimize("tank", horizon_s=300, setpoints={"level_1": 12.0}, limits={"level_3": (None, 7.0)})
    table = frames.plan(plan)
    assert plan["status"] in ("optimal", "feasible", "relaxed")
    assert table["pump_1", "move"].iloc[0] == plan["next"]["pump_1"]
    assert next(twin.recommendations("tank"))["outcome"]["status"] == plan["status"]
    with pytest.raises(InvalidError, match="level_9"):
        twin.optimize("tank", horizon_s=300, setpoints={"level_9": 12.0})
    with pytest.raises(ValueError, match="no zone"):
        twin.predict("tank", horizon_s=300, at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_twins_reports_and_aliases(twin: Client, trained: dict[str, Any], measured: Telemetry) -> None:
    name = trained["result"]["twin"]
    assert twin.twin("tank")["twin"] == name
    assert name in [found["twin"] for found in twin.twins("tank")]
    assert twin.promote("tank", name, "spare")["twin"] == name
    assert twin.aliases("tank")["spare"] == name
    assert "backtest" in twin.report("tank")
    assert "<svg" in twin.report_page("tank")
    responses = frames.responses(twin.step_responses("tank"))
    assert responses["pump_1", "level_1", "mean"].iloc[-1] > 0
    there = twin.step_responses("tank", at=measured.frame().index[500].to_pydatetime())
    here = twin.step_responses("tank", history=measured.frame().iloc[:501])
    assert there["gains"]["pump_1"] == here["gains"]["pump_1"] != twin.step_responses("tank")["gains"]["pump_1"]
    assert twin.calibration("tank")["twin"] == name
    test = twin.step_test("tank", settling_s=60, options={"mvs": ["pump_1"]})
    assert list(test["mvs"]) == ["pump_1"]
    assert test["times"][0] in twin.step_test_csv("tank", {"settling_s": 60})
    twin.put_plant("uncontrolled", PLANT)
    assert not twin.controller("uncontrolled")["running"]
    assert list(twin.controller_cycles("uncontrolled")) == list(twin.sources("uncontrolled")) == []
    twin.delete_plant("uncontrolled")
    assert "excitation" in str(twin.quality("tank"))
    assert twin.ready()
    assert twin.alive()
    assert twin.request("GET", "/healthz")["status"] == "ok"


def test_keys(twin: Client, address: str) -> None:
    made = twin.create_key("screen", ["read"], expires=datetime(2099, 1, 1, tzinfo=UTC))
    assert made["id"] in [key["id"] for key in list(twin.keys())]
    with Client(address, made["key"]) as reader:
        assert [plant["plant"] for plant in reader.plants()]
        twin.revoke_key(made["id"])
        with pytest.raises(UnauthorizedError):
            list(reader.plants())
    assert next(twin.audit())["id"] > 0
    assert twin.verify_audit()["ok"]


def test_the_awaiting_client_does_the_same(address: str, trained: dict[str, Any], measured: Telemetry) -> None:
    async def ask() -> None:
        async with AsyncClient(address, KEY) as twin:
            await twin.put_plant("awaited", PLANT)
            receipt = await twin.upload("awaited", measured.frame())
            assert receipt["rows_stored"] == len(measured.frame())
            assert "awaited" in [plant["plant"] async for plant in twin.plants()]
            both = await asyncio.gather(
                twin.predict("tank", horizon_s=300), twin.optimize("tank", horizon_s=300, setpoints={"level_1": 12.0})
            )
            assert both[0]["twin"] == both[1]["twin"] == trained["result"]["twin"]
            events = [event async for event in twin.events(trained["job"])]
            assert events[-1].data["state"] == "succeeded"
            assert (await twin.wait(trained["job"]))["state"] == "succeeded"
            assert len(await twin.frame("awaited", tags=["level_1"])) == receipt["rows_stored"]

    asyncio.run(ask())


def test_the_types_are_those_of_the_openapi_document(app: Any) -> None:
    written = Path(types.__file__).read_text()
    assert written == types_of_openapi.module(app.openapi()), f"run: python {types_of_openapi.__file__}"


ARGUMENTS: dict[str, Any] = {
    "plant": "a",
    "twin": "b",
    "job": "c",
    "alias": "d",
    "upload": "1",
    "key_id": "e",
    "recommendation": 7,
}
ARGUMENTS |= {"verb": "predict", "body": {}, "source": b"", "horizon_s": 1.0, "name": "n", "scopes": ["read"]}
ARGUMENTS |= {"file": "f" * 32, "at": "s", "mode": "off", "kind": "cycle"}
ARGUMENTS |= {"fleet": "tanks", "units": ["tank", "other"]}
ARGUMENTS |= {"start": "s", "end": "e", "tags": ["t"], "max_points": 4, "as_of": 1, "version": 1, "timezone": "UTC"}


NAMES = [name for name in vars(Calls) if not name.startswith("_") and name != "request"]
APART = {  # routes without a call of their own
    "PUT /v1/plants/{plant}/sources",  # for collectors
    "POST /v1/plants/{plant}/controller/cycles",  # for controllers
    "OPTIONS /v1/plants/{plant}/telemetry/files",  # what of tus is spoken: the client speaks what every service does
    "HEAD /v1/plants/{plant}/telemetry/files/{file}",  # these two within `upload_in_parts`
    "PATCH /v1/plants/{plant}/telemetry/files/{file}",
    "POST /v1/plants/{plant}/twins/{twin}/step-responses",  # within `step_responses`
    "GET /metrics",  # for Prometheus
}


def _request(name: str, tmp_path: Path) -> Any:
    """The first request of a call."""
    (tmp_path / "a.csv").write_text("time")
    names = inspect.signature(getattr(Calls, name)).parameters
    arguments = {k: v for k, v in ARGUMENTS.items() if k in names}
    if name == "upload_in_parts":
        arguments |= {"source": tmp_path / "a.csv", "at": None}
    return next(getattr(Calls(Retry()), name)(**arguments)).request


def test_every_route_has_a_call(app: Any, tmp_path: Path) -> None:
    """Each verb of `ask` counts; what is apart is so for a reason."""
    called = [_request(name, tmp_path) for name in NAMES]
    routes = [
        (f"{method.upper()} {path}", re.sub(r"{\w+}", "[^/]+", path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    ]
    missing = {
        route
        for route, pattern in routes
        if not any(route.split()[0] == asked.method and re.fullmatch(pattern, asked.path) for asked in called)
    }
    assert missing == APART


@pytest.mark.parametrize("name", NAMES)
def test_every_call_asks_a_route_that_there_is_with_parameters_that_it_has(app: Any, name: str, tmp_path: Path) -> None:
    request = _request(name, tmp_path)
    for path, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), request.path) and request.method.lower() in operations:
            operation = operations[request.method.lower()]
            known = {p["name"].lower() for p in operation.get("parameters", ())} | {"accept", "content-type"}
            assert {k.lower() for k in [*request.params, *request.headers]} <= known
            return
    raise AssertionError(f"no route {request.method} {request.path}")
