"""Uploads and reads over REST: formats, receipts, idempotency, streaming, refusals."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CSV, PARQUET, ARROW = "text/csv", "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
PLANT = {
    "name": "Feed tank",
    "sample_period_s": 10.0,
    "tags": [
        {"name": "valve", "role": "mv", "unit": "%", "low": 0.0, "high": 100.0},
        {"name": "level", "role": "cv", "unit": "m"},
    ],
}
TIMES = pd.date_range("2026-01-01", periods=4, freq="10s", tz="UTC")
WIDE = "time,valve,level\n" + "".join(f"{t.isoformat()},{10 * i},{i}.5\n" for i, t in enumerate(TIMES))
LONG = "time,tag,value\n" + "".join(
    f"{t.isoformat()},valve,{10 * i}\n{t.isoformat()},level,{i}.5\n" for i, t in enumerate(TIMES)
)
VALUES = {"valve": [0.0, 10.0, 20.0, 30.0], "level": [0.5, 1.5, 2.5, 3.5]}


@pytest.fixture
def plant(client: httpx.Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty plant of this test."""
    slug = "t-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[-50:].strip("-")
    assert client.put(f"/v1/plants/{slug}", json=PLANT).status_code == 201
    yield slug
    assert client.delete(f"/v1/plants/{slug}").status_code == 204


def post(
    client: httpx.Client, plant: str, body: Any, kind: str = CSV, query: str = "", **headers: str
) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(f"/v1/plants/{plant}/telemetry{query}", content=body, headers={"Content-Type": kind, **names})


def rows(client: httpx.Client, plant: str, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/plants/{plant}/telemetry", params=params).json()
    return found


def table() -> pa.Table:
    return pa.table({"time": pa.array(TIMES), **VALUES})


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink)
    return sink.getvalue()


def stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "kind", "received"),
    [(WIDE, CSV, 4), (LONG, CSV, 8), (parquet(), PARQUET, 4), (stream(), ARROW, 4)],
    ids=["wide", "long", "parquet", "arrow"],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_form_is_stored_alike(
    client: httpx.Client, plant: str, body: str | bytes, kind: str, received: int, packed: bool
) -> None:
    raw = body.encode() if isinstance(body, str) else body
    headers = {"Content_Encoding": "gzip"} if packed else {}
    receipt = post(client, plant, gzip.compress(raw) if packed else raw, kind, **headers).json()
    assert receipt["rows_received"] == received
    assert receipt["rows_stored"] + receipt["rows_duplicate"] + receipt["rows_rejected"] == received
    assert receipt["rows_rejected"] == 0
    found = rows(client, plant)
    assert found["values"] == VALUES
    assert [pd.Timestamp(t) for t in found["times"]] == list(TIMES)


def test_a_repeated_key_answers_the_first_receipt(client: httpx.Client, plant: str) -> None:
    first = post(client, plant, WIDE, Idempotency_Key="week-1").json()
    again = post(client, plant, WIDE, Idempotency_Key="week-1").json()
    assert again == first
    twice = post(client, plant, WIDE).json()
    assert (twice["rows_stored"], twice["rows_duplicate"]) == (0, 4)
    assert rows(client, plant)["values"] == VALUES


def test_a_key_of_another_body_is_refused_and_nothing_is_lost(client: httpx.Client, plant: str) -> None:
    """Else a corrected file that is sent under the old key would be answered with the old receipt, and never stored."""
    number = post(client, plant, WIDE, Idempotency_Key="week-1").json()["upload"]
    corrected = WIDE.replace(",0.5", ",0.75")
    refused = post(client, plant, corrected, Idempotency_Key="week-1")
    assert refused.status_code == 409
    assert f"is that of upload {number}, whose body was another" in refused.json()["detail"]
    assert rows(client, plant)["values"] == VALUES
    assert post(client, plant, corrected, Idempotency_Key="week-1b").json()["rows_replaced"] == 1
    assert rows(client, plant)["values"]["level"][0] == 0.75
    assert post(client, plant, WIDE, Idempotency_Key="week-1").json()["upload"] == number


def test_a_broken_row_does_not_lose_the_others(client: httpx.Client, plant: str) -> None:
    lines = WIDE.splitlines()
    lines[2] += ",surplus"
    lines[3] = lines[3].replace("20,", "open,")
    receipt = post(client, plant, "\n".join(lines)).json()
    assert (receipt["rows_received"], receipt["rows_stored"], receipt["rows_rejected"]) == (4, 3, 1)
    assert {(r["row"], r["tag"]) for r in receipt["rejected"]} == {(2, None), (3, "valve")}
    assert rows(client, plant)["values"] == {"valve": [0.0, None, 30.0], "level": [0.5, 2.5, 3.5]}


def test_naive_times_need_a_zone(client: httpx.Client, plant: str) -> None:
    text = WIDE.replace("+00:00", "")
    receipt = post(client, plant, text).json()
    assert "rows_received" not in receipt or receipt["rows_stored"] == 0
    stored = post(client, plant, text, query="?timezone=Europe/Berlin").json()
    assert (stored["rows_stored"], pd.Timestamp(stored["first_time"])) == (4, pd.Timestamp("2025-12-31T23:00Z"))
    wrong = post(client, plant, text, query="?timezone=Mars/Olympus")
    assert wrong.status_code == 422
    assert "Mars/Olympus" in wrong.json()["detail"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", CSV, 422),
        (WIDE, "application/xml", 415),
        (WIDE, "", 415),
        (WIDE, PARQUET, 422),
        (parquet()[:-20], PARQUET, 422),
        (stream()[:-120], ARROW, 422),
        ("time,pressure\n2026-01-01T00:00:00Z,1\n", CSV, 422),
        ("valve,level\n1,2\n", CSV, 422),
        ("time,valve,valve\n2026-01-01T00:00:00Z,1,2\n", CSV, 422),
    ],
)
def test_what_cannot_be_read_is_refused_whole(
    client: httpx.Client, plant: str, body: Any, kind: str, status: int
) -> None:
    answer = post(client, plant, body, kind)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert len(answer.json()["detail"]) > 15
    assert rows(client, plant)["times"] == []


def test_an_upload_over_the_limit_is_refused_while_it_arrives(client: httpx.Client, plant: str) -> None:
    def endless() -> Iterator[bytes]:
        yield b"time,valve,level\n"
        for i in range(40):
            yield f"2026-01-01T00:00:{i:02d}Z,1,2\n".encode() * 40_000

    try:
        answer = post(client, plant, endless())
    except httpx.TransportError:
        pass  # the service stopped reading
    else:
        assert answer.status_code == 413
    assert rows(client, plant)["times"] == []


def test_a_bomb_does_not_unpack(client: httpx.Client, plant: str) -> None:
    text = b"time,valve,level\n" + b"2026-01-01T00:00:00Z,1,2\n" * 2_600_000
    answer = post(client, plant, gzip.compress(text, 9), Content_Encoding="gzip")
    assert answer.status_code in (413, 422)
    assert rows(client, plant)["times"] == []


def test_a_wrong_upload_is_taken_back(client: httpx.Client, plant: str) -> None:
    post(client, plant, WIDE)
    wrong = post(client, plant, WIDE.replace(".5\n", ".9\n")).json()
    assert wrong["rows_replaced"] == 4
    before = rows(client, plant)["values"]["level"]
    assert before == [0.9, 1.9, 2.9, 3.9]
    assert client.delete(f"/v1/plants/{plant}/telemetry/uploads/{wrong['upload']}").status_code == 200
    assert rows(client, plant)["values"] == VALUES
    assert rows(client, plant, as_of=wrong["version"])["values"]["level"] == before
    assert client.delete(f"/v1/plants/{plant}/telemetry/uploads/{wrong['upload']}").status_code == 404
    told = client.get(f"/v1/plants/{plant}/telemetry/uploads").json()["items"]
    assert [(u["upload"] == wrong["upload"], u["taken_back"]) for u in told] == [(True, True), (False, False)]


def test_a_span_and_some_tags_are_read(client: httpx.Client, plant: str) -> None:
    post(client, plant, WIDE)
    found = rows(client, plant, start=TIMES[1].isoformat(), end=TIMES[2].isoformat(), tags="level")
    assert found["values"] == {"level": [1.5, 2.5]}
    unescaped = client.get(f"/v1/plants/{plant}/telemetry?start=2026-01-01T00:00:20+00:00").json()
    assert unescaped["values"]["level"] == [2.5, 3.5]
    assert client.get(f"/v1/plants/{plant}/telemetry?tags=levle").status_code == 422
    assert client.get(f"/v1/plants/{plant}/telemetry?start=2026-01-01").status_code == 422
    assert client.get(f"/v1/plants/{plant}/telemetry?as_of=99").status_code == 422


def test_an_overview_keeps_the_extremes(client: httpx.Client, plant: str) -> None:
    times = pd.date_range("2026-01-01", periods=2_000, freq="10s", tz="UTC")
    level = [1.0] * 2_000
    level[777], level[1_333] = 9.0, -9.0
    frame = pd.DataFrame({"time": times.strftime("%Y-%m-%dT%H:%M:%SZ"), "valve": 5.0, "level": level})
    assert post(client, plant, frame.to_csv(index=False)).json()["rows_stored"] == 2_000
    found = rows(client, plant, max_points=50)
    assert len(found["times"]) <= 50
    assert {9.0, -9.0} <= set(found["values"]["level"])


def test_bad_quality_is_told_where_asked(client: httpx.Client, plant: str) -> None:
    text = "time,level,level__quality\n" + "".join(
        f"{t.isoformat()},{i},{q}\n" for i, (t, q) in enumerate(zip(TIMES, ("good", "bad", "bad", "good"), strict=True))
    )
    assert post(client, plant, text).json()["rows_stored"] == 4
    assert "bad" not in rows(client, plant)
    found = rows(client, plant, bad=True)
    assert found["values"]["level"] == [0.0, None, None, 3.0]
    [span] = found["bad"]["level"]
    assert [pd.Timestamp(span[end]) for end in ("start", "end")] == [TIMES[1], TIMES[2]]


def test_arrow_brings_every_row(client: httpx.Client, plant: str) -> None:
    post(client, plant, WIDE)
    answer = client.get(f"/v1/plants/{plant}/telemetry", headers={"Accept": ARROW})
    assert answer.headers["content-type"] == ARROW
    found = pa.ipc.open_stream(answer.content).read_all().to_pydict()
    assert {name: found[name] for name in VALUES} == VALUES
    assert [pd.Timestamp(t) for t in found["time"]] == list(TIMES)


def test_quality_is_a_page_too_with_what_training_would_use(client: httpx.Client, plant: str) -> None:
    text = "time,level,level__quality\n" + "".join(
        f"{t.isoformat()},{i},{q}\n" for i, (t, q) in enumerate(zip(TIMES, ("good", "bad", "bad", "good"), strict=True))
    )
    post(client, plant, text)
    path = f"/v1/plants/{plant}/telemetry/quality"
    answer = client.get(path, headers={"Accept": "text/html,application/xhtml+xml"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.text.count("<svg") == 1
    assert "Nothing: too few rows to train: 4 in" in answer.text
    assert "<script" not in answer.text
    found = client.get(path).json()
    assert found["tags"]["level"]["bad_quality"]["count"] == 1
    assert found["readiness"]["can_train"] is False


def test_quality_names_what_is_wrong(client: httpx.Client, plant: str) -> None:
    post(client, plant, "time,valve,level\n" + "".join(f"{t.isoformat()},50,{i}\n" for i, t in enumerate(TIMES)))
    found = client.get(f"/v1/plants/{plant}/telemetry/quality").json()
    assert "valve" in str(found)
    assert client.get("/v1/plants/nowhere/telemetry/quality").status_code == 404


def test_a_calculated_tag_is_read_but_never_stored(client: httpx.Client, plant: str) -> None:
    ratio = {"name": "ratio", "role": "cv", "unit": "m/%", "formula": "level / valve"}
    assert client.put(f"/v1/plants/{plant}", json={**PLANT, "tags": [*PLANT["tags"], ratio]}).status_code == 200
    assert client.get(f"/v1/plants/{plant}").json()["tags"][2]["formula"] == "level / valve"
    body = WIDE.replace("time,valve,level", "time,valve,level,ratio").replace("\n2026", ",7\n2026").strip() + ",7\n"
    receipt = post(client, plant, body.replace("ratio,7", "ratio")).json()
    assert receipt["unknown_tags"] == ["ratio"]
    assert receipt["rows_stored"] == 4
    found = rows(client, plant)
    assert found["values"]["ratio"] == [None, 0.15, 0.125, pytest.approx(3.5 / 30)]
    assert rows(client, plant, tags="ratio")["values"] == {"ratio": found["values"]["ratio"]}
    arrow = client.get(f"/v1/plants/{plant}/telemetry", params={"tags": "ratio"}, headers={"Accept": ARROW})
    read = pa.ipc.open_stream(arrow.content).read_all()
    assert read.column_names == ["time", "ratio"]
    assert read["ratio"].to_pylist()[1:3] == [0.15, 0.125]
    quality = client.get(f"/v1/plants/{plant}/telemetry/quality").json()
    assert quality["tags"]["ratio"]["coverage"] == 0.75
    circle = {**ratio, "formula": "ratio / 2"}
    refused = client.put(f"/v1/plants/{plant}", json={**PLANT, "tags": [*PLANT["tags"], circle]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["tags", 2, "formula"]
