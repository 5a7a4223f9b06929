"""What the client does about an unreliable service: retries, paging and broken event streams, under both clients."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from typing import Any

import httpx
import pytest

from api.client.calls import Calls
from api.client.clients import AsyncClient, Client
from api.client.errors import (
    BusyError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    JobError,
    NotFoundError,
    RefusedError,
    ServiceError,
    TooLargeError,
    UnauthorizedError,
    UnreachableError,
    WaitedError,
)
from api.client.events import Event, Parser
from api.client.retry import Retry

FAST = Retry(times=3, first_s=0.001, longest_s=0.01)


class Script:
    """A transport that plays answers in order; an exception is raised. It keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception | type[Exception]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.bodies.append(request.read())
        return self._play()

    async def awaited(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.bodies.append(await request.aread())
        return self._play()

    def _play(self) -> httpx.Response:
        answer = self._answers.pop(0)
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        raise answer("broken") if isinstance(answer, type) else answer


class Both:
    """Runs a call under the blocking or the awaiting client."""

    def __init__(self, kind: str) -> None:
        self._awaiting = kind == "awaiting"

    def __call__(self, script: Script, name: str, *args: Any, **kwargs: Any) -> Any:
        """The result of a call; of a listing, the list of its items."""
        if self._awaiting:
            return asyncio.run(self._awaited(script, name, args, kwargs))
        with Client("http://twin", "k", retry=FAST, transport=httpx.MockTransport(script)) as client:
            found = getattr(client, name)(*args, **kwargs)
            return list(found) if inspect.isgenerator(found) else found

    async def _awaited(self, script: Script, name: str, args: Any, kwargs: Any) -> Any:
        transport = httpx.MockTransport(script.awaited)  # type: ignore[arg-type]
        async with AsyncClient("http://twin", "k", retry=FAST, transport=transport) as client:
            found = getattr(client, name)(*args, **kwargs)
            return [item async for item in found] if inspect.isasyncgen(found) else await found


@pytest.fixture(params=["blocking", "awaiting"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


def busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"status": status, "detail": "later"}, headers=headers)


def page(items: list[str], following: str | None) -> httpx.Response:
    return httpx.Response(200, json={"items": [{"plant": name} for name in items], "next": following})


@pytest.mark.parametrize(
    "trouble", [busy(), busy(429), httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError], ids=str
)
def test_a_safe_request_is_sent_again(both: Both, trouble: Any) -> None:
    script = Script(trouble, trouble, httpx.Response(200, json={"plant": "tank"}))
    assert both(script, "plant", "tank") == {"plant": "tank"}
    assert [request.url.path for request in script.asked] == ["/v1/plants/tank"] * 3
    assert {request.headers["Authorization"] for request in script.asked} == {"Bearer k"}


def test_retries_end(both: Both) -> None:
    script = Script(*[busy() for _ in range(4)])
    with pytest.raises(BusyError, match="later"):
        both(script, "plant", "tank")
    assert len(script.asked) == 4
    script = Script(*[httpx.ReadError] * 4)
    with pytest.raises(UnreachableError, match="GET /v1/plants/tank"):
        both(script, "plant", "tank")
    assert len(script.asked) == 4


@pytest.mark.parametrize("trouble", [busy(), busy(429), httpx.ReadError, httpx.WriteError], ids=str)
def test_what_may_have_been_done_already_is_not_sent_again(both: Both, trouble: Any) -> None:
    for name, args in (("train", ("tank",)), ("create_key", ("historian", ["upload"]))):
        script = Script(trouble)
        with pytest.raises((BusyError, UnreachableError)):
            both(script, name, *args)
        assert len(script.asked) == 1
    conditional = Script(httpx.ReadError)
    with pytest.raises(UnreachableError):
        both(conditional, "put_plant", "tank", {}, if_match='"1"')


def test_what_was_never_sent_is_sent_again(both: Both) -> None:
    script = Script(httpx.ConnectError, httpx.Response(202, json={"job": "j1"}))
    assert both(script, "train", "tank", seed=1) == {"job": "j1"}
    assert json.loads(script.bodies[1]) == {"seed": 1}


def test_a_slow_service_is_not_asked_twice(both: Both) -> None:
    script = Script(httpx.ReadTimeout)
    with pytest.raises(UnreachableError):
        both(script, "plant", "tank")
    assert len(script.asked) == 1


def test_an_upload_that_breaks_off_is_sent_again_whole_under_one_key(both: Both) -> None:
    script = Script(httpx.WriteError, busy(503), httpx.Response(200, json={"rows_stored": 1}))
    text = b"time,level\n2026-01-01T00:00:00Z,1\n"
    assert both(script, "upload", "tank", text) == {"rows_stored": 1}
    assert script.bodies == [text] * 3
    assert len({request.headers["Idempotency-Key"] for request in script.asked}) == 1
    assert {request.headers["Content-Length"] for request in script.asked} == {str(len(text))}
    other = Script(httpx.Response(200, json={}))
    both(other, "upload", "tank", text)
    assert other.asked[0].headers["Idempotency-Key"] != script.asked[0].headers["Idempotency-Key"]


def test_retry_after_is_honoured_within_bounds() -> None:
    assert Retry().pause(1, busy(**{"Retry-After": "3"})).seconds == 3.0
    assert Retry(longest_s=5).pause(1, busy(**{"Retry-After": "3600"})).seconds == 5.0
    assert 0.5 <= Retry(first_s=0.25).pause(3, busy(**{"Retry-After": "soon"})).seconds <= 1.0
    assert 0.125 <= Retry(first_s=0.25).pause(1).seconds <= 0.25
    assert Retry(longest_s=2.0).pause(30).seconds <= 2.0


def test_listings_ask_for_the_next_page_when_they_get_there(both: Both) -> None:
    script = Script(page(["a", "b"], "b"), page(["c"], "c"), page([], None))
    assert [plant["plant"] for plant in both(script, "plants")] == ["a", "b", "c"]
    assert [request.url.params.get("after") for request in script.asked] == [None, "b", "c"]
    lazy = Script(page(["a", "b"], "b"))
    with Client("http://twin", transport=httpx.MockTransport(lazy)) as client:
        assert next(client.plants())["plant"] == "a"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (412, ConflictError),
        (413, TooLargeError),
        (415, InvalidError),
        (418, RefusedError),
        (422, InvalidError),
        (429, BusyError),
        (500, ServiceError),
        (502, ServiceError),
        (503, BusyError),
    ],
)
def test_problems_become_exceptions(both: Both, status: int, kind: type[RefusedError]) -> None:
    problem = {"status": status, "detail": "what was wrong", "errors": [{"loc": ["moves"], "msg": "why"}]}
    with pytest.raises(RefusedError, match="what was wrong") as caught:
        both(Script(*[httpx.Response(status, json=problem) for _ in range(4)]), "plant", "tank")
    assert (type(caught.value), caught.value.status) == (kind, status)
    assert caught.value.errors == [{"loc": ["moves"], "msg": "why"}]


def test_an_error_that_is_no_problem_keeps_its_status(both: Both) -> None:
    with pytest.raises(ServiceError, match="502 Bad Gateway"):
        both(Script(httpx.Response(502, text="<html>")), "plant", "tank")


def stream(*events: tuple[int, str, dict[str, Any]], cut: bool = False) -> httpx.Response:
    text = "".join(f"id: {i}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for i, kind, data in events)
    return httpx.Response(200, text=": ping\n\n" + (text[:-1] if cut else text))


def test_an_event_stream_that_breaks_off_is_resumed_behind_its_last_event(both: Both) -> None:
    one, two = (1, "progress", {"progress": 0.5}), (2, "alarm", {"detail": "collapse"})
    end = (3, "state", {"state": "succeeded"})
    running = httpx.Response(200, json={"state": "running"})
    script = Script(stream(one, two, cut=True), running, httpx.ConnectError(""), busy(), running, stream(two, end))
    events = both(script, "events", "j1")
    assert [event.id for event in events] == ["1", "2", "3"]
    assert events[1] == Event("2", "alarm", {"detail": "collapse"})
    resumed = [r.headers.get("Last-Event-ID") for r in script.asked if r.url.path.endswith("/events")]
    assert resumed == ["0", "1", "1", "1"]


def test_events_of_a_job_that_has_ended_end(both: Both) -> None:
    ended = httpx.Response(200, json={"state": "cancelled"})
    assert both(Script(stream(), ended), "events", "j1", after="9") == []


def test_events_give_up_in_the_end(both: Both) -> None:
    with pytest.raises(UnreachableError, match="again and again"):
        both(Script(*[httpx.ReadError] * 4), "events", "j1")
    with pytest.raises(NotFoundError):
        both(Script(httpx.Response(404, json={"detail": "no job"})), "events", "j1")


def test_the_parser_follows_the_standard() -> None:
    parser = Parser("7")
    lines = [":comment", 'data:{"a":', "data: 1}", "event: x", "", "", "retry: 3", "id: 8", 'data: {"b": 2}', ""]
    events = [event for line in lines if (event := parser.feed(line))]
    assert events == [Event("7", "x", {"a": 1}), Event("8", "", {"b": 2})]


def test_waiting_tells_progress_and_raises_what_became_of_the_job(both: Both) -> None:
    def job(state: str, progress: float) -> httpx.Response:
        return httpx.Response(200, json={"job": "j1", "state": state, "progress": progress, "error": {"detail": "why"}})

    told: list[float] = []
    script = Script(job("queued", 0.0), job("running", 0.5), job("succeeded", 1.0))
    options = {"on_progress": lambda job: told.append(job["progress"]), "poll_s": 0.001}
    assert both(script, "wait", {"job": "j1"}, **options)["state"] == "succeeded"
    assert told == [0.0, 0.5, 1.0]
    with pytest.raises(JobError, match="j1 failed: why"):
        both(Script(job("failed", 0.2)), "wait", "j1")
    with pytest.raises(WaitedError, match="running after 0 s"):
        both(Script(job("running", 0.2)), "wait", "j1", timeout_s=0)


def test_both_clients_offer_every_call() -> None:
    calls = {name for name in vars(Calls) if not name.startswith("_")}
    for kind in (Client, AsyncClient):
        offered = {name: method.call for name, method in vars(kind).items() if hasattr(method, "call")}
        assert set(offered) == calls
        assert all(call is vars(Calls)[name] for name, call in offered.items())


def test_the_client_imports_httpx_and_nothing_heavier() -> None:
    script = """
import sys
import httpx
before = {name.partition(".")[0] for name in sys.modules}
from api.client.clients import AsyncClient, Client
after = {name.partition(".")[0] for name in sys.modules}
more = after - before - sys.stdlib_module_names - {"api"}
assert not more, more
assert not [name for name in sys.modules if name.startswith("api.") and not name.startswith("api.client")]
"""
    subprocess.run([sys.executable, "-c", script], check=True)
