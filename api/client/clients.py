"""The clients: `Client` blocks, `AsyncClient` awaits. Both offer the calls of `api.client.calls`.

    with Client("http://127.0.0.1:8000", key) as twin:
        twin.upload("tank", "week-1.csv")
        twin.wait(twin.train("tank"))
        answer = twin.predict("tank", horizon_s=600, moves={"valve": 60.0})

A listing (`plants`, `twins`, `jobs`, `events`, …) is an iterator that asks for the next page when it gets there.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from api.client.calls import Calls
from api.client.methods import AsyncListing, AsyncMethod, Listing, Method
from api.client.retry import Retry

LOCAL = "http://127.0.0.1:8000"


class Client:
    """Talks to one service, and blocks.

    Args:
        url: of the service.
        key: an API key; its scopes decide what is allowed.
        retry: how often what may be sent again is sent again.
        transport: of httpx, for proxies and tests.
    """

    def __init__(
        self,
        url: str = LOCAL,
        key: str | None = None,
        *,
        retry: Retry = Retry(),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.calls = Calls(retry)
        self.http = httpx.Client(base_url=self.url, headers=_headers(key), transport=transport)

    plants = Listing(Calls.plants)
    plant = Method(Calls.plant)
    put_plant = Method(Calls.put_plant)
    delete_plant = Method(Calls.delete_plant)
    upload = Method(Calls.upload)
    upload_in_parts = Method(Calls.upload_in_parts)
    file = Method(Calls.file)
    give_up_file = Method(Calls.give_up_file)
    sources = Listing(Calls.sources)
    telemetry = Method(Calls.telemetry)
    frame = Method(Calls.frame)
    quality = Method(Calls.quality)
    uploads = Listing(Calls.uploads)
    take_back = Method(Calls.take_back)
    train = Method(Calls.train)
    twins = Listing(Calls.twins)
    twin = Method(Calls.twin)
    report = Method(Calls.report)
    quality_page = Method(Calls.quality_page)
    report_page = Method(Calls.report_page)
    export = Method(Calls.export)
    step_responses = Method(Calls.step_responses)
    aliases = Method(Calls.aliases)
    promote = Method(Calls.promote)
    ask = Method(Calls.ask)
    predict = Method(Calls.predict)
    optimize = Method(Calls.optimize)
    step_test = Method(Calls.step_test)
    step_test_csv = Method(Calls.step_test_csv)
    recommendations = Listing(Calls.recommendations)
    recommendation = Method(Calls.recommendation)
    replay = Method(Calls.replay)
    calibration = Method(Calls.calibration)
    calibrate = Method(Calls.calibrate)
    backtest = Method(Calls.backtest)
    drift = Method(Calls.drift)
    controller = Method(Calls.controller)
    ask_controller = Method(Calls.ask_controller)
    controller_cycles = Listing(Calls.controller_cycles)
    controller_report = Method(Calls.controller_report)
    learn_fleet = Method(Calls.learn_fleet)
    fleets = Listing(Calls.fleets)
    fleet = Method(Calls.fleet)
    delete_fleet = Method(Calls.delete_fleet)
    jobs = Listing(Calls.jobs)
    logs = Listing(Calls.logs)
    job = Method(Calls.job)
    cancel = Method(Calls.cancel)
    wait = Method(Calls.wait)
    events = Listing(Calls.events)
    keys = Listing(Calls.keys)
    create_key = Method(Calls.create_key)
    revoke_key = Method(Calls.revoke_key)
    audit = Listing(Calls.audit)
    verify_audit = Method(Calls.verify_audit)
    alive = Method(Calls.alive)
    ready = Method(Calls.ready)
    request = Method(Calls.request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


class AsyncClient:
    """Talks to one service, under asyncio; see `Client`."""

    def __init__(
        self,
        url: str = LOCAL,
        key: str | None = None,
        *,
        retry: Retry = Retry(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.calls = Calls(retry)
        self.http = httpx.AsyncClient(base_url=self.url, headers=_headers(key), transport=transport)

    plants = AsyncListing(Calls.plants)
    plant = AsyncMethod(Calls.plant)
    put_plant = AsyncMethod(Calls.put_plant)
    delete_plant = AsyncMethod(Calls.delete_plant)
    upload = AsyncMethod(Calls.upload)
    upload_in_parts = AsyncMethod(Calls.upload_in_parts)
    file = AsyncMethod(Calls.file)
    give_up_file = AsyncMethod(Calls.give_up_file)
    sources = AsyncListing(Calls.sources)
    telemetry = AsyncMethod(Calls.telemetry)
    frame = AsyncMethod(Calls.frame)
    quality = AsyncMethod(Calls.quality)
    uploads = AsyncListing(Calls.uploads)
    take_back = AsyncMethod(Calls.take_back)
    train = AsyncMethod(Calls.train)
    twins = AsyncListing(Calls.twins)
    twin = AsyncMethod(Calls.twin)
    report = AsyncMethod(Calls.report)
    quality_page = AsyncMethod(Calls.quality_page)
    report_page = AsyncMethod(Calls.report_page)
    export = AsyncMethod(Calls.export)
    step_responses = AsyncMethod(Calls.step_responses)
    aliases = AsyncMethod(Calls.aliases)
    promote = AsyncMethod(Calls.promote)
    ask = AsyncMethod(Calls.ask)
    predict = AsyncMethod(Calls.predict)
    optimize = AsyncMethod(Calls.optimize)
    step_test = AsyncMethod(Calls.step_test)
    step_test_csv = AsyncMethod(Calls.step_test_csv)
    recommendations = AsyncListing(Calls.recommendations)
    recommendation = AsyncMethod(Calls.recommendation)
    replay = AsyncMethod(Calls.replay)
    calibration = AsyncMethod(Calls.calibration)
    calibrate = AsyncMethod(Calls.calibrate)
    backtest = AsyncMethod(Calls.backtest)
    drift = AsyncMethod(Calls.drift)
    controller = AsyncMethod(Calls.controller)
    ask_controller = AsyncMethod(Calls.ask_controller)
    controller_cycles = AsyncListing(Calls.controller_cycles)
    controller_report = AsyncMethod(Calls.controller_report)
    learn_fleet = AsyncMethod(Calls.learn_fleet)
    fleets = AsyncListing(Calls.fleets)
    fleet = AsyncMethod(Calls.fleet)
    delete_fleet = AsyncMethod(Calls.delete_fleet)
    jobs = AsyncListing(Calls.jobs)
    logs = AsyncListing(Calls.logs)
    job = AsyncMethod(Calls.job)
    cancel = AsyncMethod(Calls.cancel)
    wait = AsyncMethod(Calls.wait)
    events = AsyncListing(Calls.events)
    keys = AsyncListing(Calls.keys)
    create_key = AsyncMethod(Calls.create_key)
    revoke_key = AsyncMethod(Calls.revoke_key)
    audit = AsyncListing(Calls.audit)
    verify_audit = AsyncMethod(Calls.verify_audit)
    alive = AsyncMethod(Calls.alive)
    ready = AsyncMethod(Calls.ready)
    request = AsyncMethod(Calls.request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}
