"""What is sent again, and when: both clients over answers that are made up, with pauses that nobody waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from bankswitch import AsyncClient, Client, NoAnswer, Retries, ServerError, Unreachable

MODELS = httpx.Response(200, json={"models": []})

DOMAIN = {"domain": "fog", "active": 2, "revision": 3, "default": False, "versions": []}


def refusal(status: int, code: str = "QUEUE_FULL", **headers: str) -> httpx.Response:
    """An answer that refuses."""
    return httpx.Response(
        status,
        json={"error": "not now", "code": code},
        headers={name.replace("_", "-"): text for name, text in headers.items()},
    )


class Played:
    """A server that gives these answers, one a request, and notes what came and how long was paused."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        # A response can be sent once.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


Play = Callable[..., Any]


@pytest.fixture(params=["Client", "AsyncClient"])
def play(request: pytest.FixtureRequest) -> Play:
    """Calls a method of a client of each kind on a played server."""

    def wait(played: Played, method: str, *arguments: Any, retries: Retries = Retries(), **named: Any) -> Any:  # noqa: B008
        transport = httpx.MockTransport(played.handle)
        with Client("http://played", transport=transport, retries=retries, sleep=played.pauses.append) as client:
            return getattr(client, method)(*arguments, **named)

    async def await_it(played: Played, method: str, *arguments: Any, retries: Retries = Retries(), **named: Any) -> Any:  # noqa: B008
        transport = httpx.MockTransport(played.handle)
        async with AsyncClient("http://played", transport=transport, retries=retries, sleep=played.pause) as client:
            return await getattr(client, method)(*arguments, **named)

    return wait if request.param == "Client" else lambda *given, **named: asyncio.run(await_it(*given, **named))


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": "Sun, 29 Nov 2026 10:00:09 GMT", "date": "Sun, 29 Nov 2026 10:00:00 GMT"}, 9),
        ({"retry_after": "Sun, 29 Nov 2026 10:00:00 GMT", "date": "Sun, 29 Nov 2026 10:00:09 GMT"}, 0),
        ({"retry_after": "Sun, 29 Nov 2026 10:00:09 GMT"}, 0.25),
        ({"retry_after": "soon"}, 0.25),
        ({}, 0.25),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_asked_again_when_it_says(
    play: Play, headers: dict[str, str], pause: float, status: int
) -> None:
    """In seconds or by a date; without either soon."""
    played = Played(refusal(status, **headers), MODELS)
    assert play(played, "models") == []
    assert played.pauses == [pause]


def test_pauses_double_without_a_word_from_the_server(play: Play) -> None:
    """Also when it cannot be reached."""
    played = Played(refusal(429), httpx.ConnectError("refused"), refusal(503), MODELS)
    play(played, "models")
    assert played.pauses == [0.25, 0.5, 1.0]


def test_attempts_are_bounded(play: Play) -> None:
    """After the last one the server's own error is raised."""
    played = Played(*[refusal(429, retry_after="1")] * 3)
    with pytest.raises(ServerError) as caught:
        play(played, "models", retries=Retries(times=2))
    assert (caught.value.code, caught.value.status) == ("QUEUE_FULL", 429)
    assert played.pauses == [1, 1]
    assert len(played.requests) == 3


def test_waiting_is_bounded(play: Play) -> None:
    """A server that asks for more patience than there is gets no shorter one."""
    played = Played(refusal(429, retry_after="40"), refusal(429, retry_after="40"))
    with pytest.raises(ServerError):
        play(played, "models")
    assert played.pauses == [40]
    assert len(played.requests) == 2


def test_a_client_may_be_told_to_try_once(play: Play) -> None:
    """And then neither pauses nor asks again."""
    for failure, error in ((refusal(429), ServerError), (httpx.ReadError("broken"), Unreachable)):
        played = Played(failure)
        with pytest.raises(error):
            play(played, "models", retries=Retries(times=0))
        assert (played.pauses, len(played.requests)) == ([], 1)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 412, 500, 501, 504])
def test_other_refusals_are_final(play: Play, status: int) -> None:
    """They would be the same again."""
    played = Played(refusal(status, "SOME_CODE"))
    with pytest.raises(ServerError) as caught:
        play(played, "models")
    assert (caught.value.status, caught.value.code, played.pauses) == (status, "SOME_CODE", [])


CHANGES: Sequence[tuple[Any, ...]] = [
    ("register", "m", "fog", b"bank"),
    ("rollback", "m", "fog"),
    ("delete", "m", "fog"),
    ("calibrate", "m", "fog", b"picture"),
]


@pytest.mark.parametrize("given", CHANGES, ids=lambda given: str(given[0]))
@pytest.mark.parametrize("failure", [httpx.ReadError("broken"), refusal(503, "AUDIT_UNWRITABLE"), refusal(503, "HTTP")])
def test_a_change_that_may_have_been_made_is_not_made_again(
    play: Play, given: tuple[Any, ...], failure: httpx.Response | Exception
) -> None:
    """A second version or job would be too much."""
    played = Played(failure)
    with pytest.raises((Unreachable, ServerError)):
        play(played, *given)
    assert (played.pauses, len(played.requests)) == ([], 1)


@pytest.mark.parametrize("refused", [refusal(429, retry_after="2"), refusal(503, "MODEL_NOT_READY", retry_after="2")])
def test_a_change_that_was_refused_at_once_is_tried_again(play: Play, refused: httpx.Response) -> None:
    """With the same body."""
    registered = httpx.Response(
        201, json={"model": "m", "domain": "fog", "version": 4, "digest": "d", "active": True}, headers={"etag": '"9"'}
    )
    played = Played(refused, registered)
    assert play(played, "register", "m", "fog", b"bank").revision == 9
    assert [request.content for request in played.requests] == [b"bank"] * 2
    assert played.pauses == [2]


def test_what_changes_nothing_more_is_sent_again_over_a_broken_connection(play: Play) -> None:
    """Activating a version twice is activating it."""
    played = Played(httpx.ReadError("broken"), httpx.Response(200, json=DOMAIN))
    assert play(played, "activate", "m", "fog", 2).active == 2
    played = Played(httpx.ReadError("broken"))
    with pytest.raises(Unreachable):
        play(played, "activate", "m", "fog", 2, if_match=3)


def test_a_server_that_does_not_answer_is_not_asked_again(play: Play) -> None:
    """It has enough to do."""
    played = Played(httpx.ReadTimeout("slow"))
    with pytest.raises(NoAnswer, match="timeout="):
        play(played, "models")
    assert played.pauses == []


def test_a_job_is_watched_to_its_end(play: Play) -> None:
    """Looked at every 0.3 s, by whoever calibrates."""

    def job(state: str, progress: float, **rest: Any) -> httpx.Response:
        return httpx.Response(200, json={"id": "7", "state": state, "progress": progress, "subject": {}, **rest})

    result = {"model": "m", "domain": "d", "version": 2, "digest": "x", "active": True}
    played = Played(
        httpx.Response(202, json={"id": "7", "state": "queued"}),
        job("queued", 0),
        job("running", 0.5),
        refusal(503, retry_after="3"),
        job("succeeded", 1, result=result),
    )
    seen: list[tuple[str, float]] = []
    made = play(
        played, "calibrate", "m", "d", [b"a", b"b"], on_progress=lambda job: seen.append((job.state, job.progress))
    )
    assert (made.version, made.is_settled) == (2, False)
    assert seen == [("queued", 0), ("running", 0.5), ("succeeded", 1)]
    assert played.pauses == [0.3, 0.3, 3]
    assert json.dumps([request.url.path for request in played.requests[1:]]).count("/admin/jobs/7") == 4
