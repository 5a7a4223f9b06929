"""Plants over REST: versions, preconditions, pages, refusals that name the place."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

PLANT: dict[str, Any] = {
    "name": "Feed tank",
    "sample_period_s": 10.0,
    "tags": [
        {"name": "valve", "role": "mv", "unit": "%", "low": 0.0, "high": 100.0, "rate_limit_per_s": 1.0},
        {"name": "level", "role": "cv", "unit": "m"},
    ],
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**PLANT, **fields}


def with_tag(i: int, **fields: Any) -> dict[str, Any]:
    tags = [dict(tag) for tag in PLANT["tags"]]
    tags[i] |= fields
    return changed(tags=tags)


def test_a_plant_has_versions_that_stay(client: httpx.Client) -> None:
    first = client.put("/v1/plants/versions", json=PLANT)
    assert (first.status_code, first.json()["version"]) == (201, 1)
    again = client.put("/v1/plants/versions", json=PLANT)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert again.headers["ETag"] == first.headers["ETag"]
    second = client.put("/v1/plants/versions", json=with_tag(1, limit_high=3.5))
    assert (second.status_code, second.json()["version"]) == (200, 2)
    assert second.headers["ETag"] != first.headers["ETag"]
    old = client.get("/v1/plants/versions", params={"version": 1}).json()
    assert [tag.get("limit_high") for tag in old["tags"]] == [None, None]
    assert [tag.get("limit_high") for tag in client.get("/v1/plants/versions").json()["tags"]] == [None, 3.5]
    assert client.get("/v1/plants/versions", params={"version": 3}).status_code == 404


def test_preconditions_guard_against_lost_changes(client: httpx.Client) -> None:
    etag = client.put("/v1/plants/guarded", json=PLANT).headers["ETag"]
    client.put("/v1/plants/guarded", json=changed(name="Changed by another"))
    late = client.put("/v1/plants/guarded", json=changed(name="Mine"), headers={"If-Match": etag})
    assert late.status_code == 412
    assert client.get("/v1/plants/guarded").json()["name"] == "Changed by another"
    assert client.put("/v1/plants/guarded", json=PLANT, headers={"If-None-Match": "*"}).status_code == 412
    assert client.put("/v1/plants/none", json=PLANT, headers={"If-Match": etag}).status_code == 412
    now = client.get("/v1/plants/guarded").headers["ETag"]
    assert client.get("/v1/plants/guarded", headers={"If-None-Match": now}).status_code == 304
    assert client.put("/v1/plants/guarded", json=PLANT, headers={"If-Match": now}).status_code == 200
    assert client.delete("/v1/plants/guarded", headers={"If-Match": now}).status_code == 412


def test_a_deleted_plant_is_gone_and_its_slug_free(client: httpx.Client) -> None:
    etag = client.put("/v1/plants/gone", json=PLANT).headers["ETag"]
    text = "time,valve,level\n2026-01-01T00:00:00Z,1,2\n"
    client.post("/v1/plants/gone/telemetry", content=text, headers={"Content-Type": "text/csv"})
    assert client.delete("/v1/plants/gone").status_code == 204
    assert client.get("/v1/plants/gone").status_code == 404
    again = client.put("/v1/plants/gone", json=PLANT)
    assert (again.status_code, again.json()["version"]) == (201, 1)
    assert again.headers["ETag"] != etag
    assert client.get("/v1/plants/gone/telemetry").json()["times"] == []


def test_pages_of_plants_meet(client: httpx.Client) -> None:
    for i in range(5):
        client.put(f"/v1/plants/paged-{i}", json=PLANT)
    seen: list[str] = []
    after = "paged-"
    while after is not None and len(seen) < 100:
        answer = client.get("/v1/plants", params={"limit": 2, "after": after}).json()
        assert len(answer["items"]) <= 2
        seen += [plant["plant"] for plant in answer["items"]]
        after = answer["next"]
    assert [slug for slug in seen if slug.startswith("paged-")] == [f"paged-{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (with_tag(1, name="valve"), ["tags", 1, "name"], "names are unique"),
        (with_tag(0, low=100.0, high=0.0), ["tags", 0, "low"], "is not below"),
        (with_tag(0, role="cv", rate_limit_per_s=None), ["tags"], "only CVs"),
        (with_tag(0, role="valve"), ["tags", 0, "role"], "'mv', 'dv', 'cv' or 'ov'"),
        (with_tag(1, unit="metre2x"), ["tags", 1, "unit"], "unit"),
        (with_tag(0, lower=1.0), ["tags", 0, "lower"], "did you mean low"),
        (with_tag(0, low="0"), ["tags", 0, "low"], "number"),
        (with_tag(0, low=False), ["tags", 0, "low"], "number"),
        (changed(sample_period_s=0), ["sample_period_s"], "greater than 0"),
        (changed(tags=[]), ["tags"], "needs tags"),
        (changed(sample_periods=1), ["sample_periods"], "did you mean sample_period_s"),
        ({"name": "x", "tags": []}, ["sample_period_s"], "required"),
    ],
)
def test_a_contradiction_is_refused_at_its_place(
    client: httpx.Client, body: dict[str, Any], where: list[Any], what: str
) -> None:
    answer = client.put("/v1/plants/wrong", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problems = {tuple(error["loc"]): error["msg"] for error in answer.json()["errors"]}
    assert what in problems[tuple(where)]
    assert client.get("/v1/plants/wrong").status_code == 404


@pytest.mark.parametrize("slug", ["Tank", "-tank", "a" * 65, "tänk", "a%20b", "a.b"])
def test_a_slug_is_checked(client: httpx.Client, slug: str) -> None:
    assert client.put(f"/v1/plants/{slug}", json=PLANT).status_code == 422


def test_a_near_miss_is_named(client: httpx.Client) -> None:
    client.put("/v1/plants/fractionator", json=PLANT)
    answer = client.get("/v1/plants/fractionater")
    assert answer.status_code == 404
    assert "did you mean fractionator?" in answer.json()["detail"]
