"""
Clients of a server, one for threads and one for event loops. Both do nothing but send and sleep: what is sent, and what
is made of the answers, stands in calls/, and their methods are made of that.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx

from bankswitch.calls import administration, calibration, inference
from bankswitch.results import Job
from bankswitch.retries import Retries, retried
from bankswitch.transport import Driven, answer_of, checked_url, common_headers, request_arguments
from bankswitch.wire import Exchange, Pause

P = ParamSpec("P")
T = TypeVar("T")

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


def _signature(call: Callable[..., object]) -> inspect.Signature:
    """That of a method with the call's parameters and result, for help()."""
    signature = inspect.signature(call)
    result = str(signature.return_annotation).removeprefix("Exchange[").removesuffix("]")
    return signature.replace(parameters=[_SELF, *signature.parameters.values()], return_annotation=result)


def _waiting(call: Callable[P, Exchange[T]]) -> Callable[Concatenate[Client, P], T]:
    @wraps(call)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(call(*args, **kwargs))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


def _awaited(call: Callable[P, Exchange[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @wraps(call)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(call(*args, **kwargs))

    method.__signature__ = _signature(call)  # type: ignore[attr-defined]
    return method


class Client:
    """
    A client of the server at `url`, for any number of threads; close it, or use it in a `with` statement.

    `key` is needed for the admin API (docs/keys.md). `timeout` is how long an answer is waited for, in seconds; None
    for ever. `retries` says how often what may pass is tried again. `verify` is for TLS, `transport` for tests, as in
    httpx; `sleep` pauses for seconds. Raises InvalidCall for what is no address or no key.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float | None = 60.0,
        retries: Retries = Retries(),  # noqa: B008
        verify: ssl.SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Opens no connection yet."""
        self._url = checked_url(url)
        self._timeout, self._retries, self._sleep = timeout, retries, sleep
        self._http = httpx.Client(base_url=self._url, headers=common_headers(key), verify=verify, transport=transport)

    infer = _waiting(inference.infer)
    predict = _waiting(inference.predict)
    transform = _waiting(inference.transform)
    compare = _waiting(inference.compare)
    compare_pictures = _waiting(inference.compare_pictures)
    models = _waiting(administration.models)
    model = _waiting(administration.model)
    domains = _waiting(administration.domains)
    domain = _waiting(administration.domain)
    versions = _waiting(administration.versions)
    drift = _waiting(administration.drift)
    candidates = _waiting(administration.candidates)
    register = _waiting(administration.register)
    register_blend = _waiting(administration.register_blend)
    activate = _waiting(administration.activate)
    rollback = _waiting(administration.rollback)
    delete = _waiting(administration.delete)
    download = _waiting(administration.download)
    diff = _waiting(administration.diff)
    calibrate = _waiting(calibration.calibrate)
    start_calibration = _waiting(calibration.start_calibration)
    job = _waiting(calibration.job)
    jobs = _waiting(calibration.jobs)
    cancel = _waiting(calibration.cancel)

    def watch(self, job_id: str) -> Iterator[Job]:
        """How a job stands, now and again, last when it has ended. Raises ServerError."""
        while True:
            job = self.job(job_id)
            yield job
            if job.is_ended:
                return
            self._sleep(calibration.POLL_SECONDS)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Client:
        """The client itself, which is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def __repr__(self) -> str:
        """Without the key."""
        return f"Client({str(self._url)!r})"

    def _run(self, exchange: Exchange[T]) -> T:
        driven = Driven(retried(exchange, self._retries))
        for step in driven:
            if isinstance(step, Pause):
                self._sleep(step.seconds)
                continue
            with driven.sending(self._url):
                driven.outcome = answer_of(self._http.request(**request_arguments(step, self._timeout)))
        return driven.result


class AsyncClient:
    """Like Client, for an event loop of asyncio: each method is awaited, `watch` is iterated with `async for`."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float | None = 60.0,
        retries: Retries = Retries(),  # noqa: B008
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Opens no connection yet."""
        self._url = checked_url(url)
        self._timeout, self._retries, self._sleep = timeout, retries, sleep
        self._http = httpx.AsyncClient(
            base_url=self._url, headers=common_headers(key), verify=verify, transport=transport
        )

    infer = _awaited(inference.infer)
    predict = _awaited(inference.predict)
    transform = _awaited(inference.transform)
    compare = _awaited(inference.compare)
    compare_pictures = _awaited(inference.compare_pictures)
    models = _awaited(administration.models)
    model = _awaited(administration.model)
    domains = _awaited(administration.domains)
    domain = _awaited(administration.domain)
    versions = _awaited(administration.versions)
    drift = _awaited(administration.drift)
    candidates = _awaited(administration.candidates)
    register = _awaited(administration.register)
    register_blend = _awaited(administration.register_blend)
    activate = _awaited(administration.activate)
    rollback = _awaited(administration.rollback)
    delete = _awaited(administration.delete)
    download = _awaited(administration.download)
    diff = _awaited(administration.diff)
    calibrate = _awaited(calibration.calibrate)
    start_calibration = _awaited(calibration.start_calibration)
    job = _awaited(calibration.job)
    jobs = _awaited(calibration.jobs)
    cancel = _awaited(calibration.cancel)

    async def watch(self, job_id: str) -> AsyncIterator[Job]:
        """How a job stands, now and again, last when it has ended. Raises ServerError."""
        while True:
            job = await self.job(job_id)
            yield job
            if job.is_ended:
                return
            await self._sleep(calibration.POLL_SECONDS)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        """The client itself, which is closed at the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes it."""
        await self.close()

    def __repr__(self) -> str:
        """Without the key."""
        return f"AsyncClient({str(self._url)!r})"

    async def _run(self, exchange: Exchange[T]) -> T:
        driven = Driven(retried(exchange, self._retries))
        for step in driven:
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
                continue
            with driven.sending(self._url):
                driven.outcome = answer_of(await self._http.request(**request_arguments(step, self._timeout)))
        return driven.result
