"""Between requests without a network and httpx: what a client of either kind needs besides sending and sleeping."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Generic

import httpx

from bankswitch.errors import BankswitchError, InvalidCall, NoAnswer, Unreachable
from bankswitch.wire import Answer, Exchange, Pause, Request, T

#: How much longer than the server an answer is waited for, in seconds.
_GRACE = 5.0


def checked_url(url: str) -> httpx.URL:
    """The address of a server. Raises InvalidCall for what is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidCall(f'"{url}" is no address: {error}') from error
    if parsed.scheme not in ("http", "https") or parsed.host == "":
        raise InvalidCall(f'"{url}" is no address of a server; expected one such as http://127.0.0.1:8080')
    return parsed


def common_headers(key: str | None) -> dict[str, str]:
    """Headers of every request. Raises InvalidCall for what cannot be a key, without showing it."""
    headers = {"user-agent": f"bankswitch-python/{version('bankswitch')}"}
    if key is None:
        return headers
    stripped = key.strip()
    if stripped == "" or not all("!" <= character <= "~" for character in stripped):
        raise InvalidCall(
            "the key is empty or has characters that no key has; give what stands in the server's key file: "
            "Client(url, key=Path('.bankswitch/admin.key').read_text())"
        )
    return {**headers, "authorization": f"Bearer {stripped}"}


def request_arguments(request: Request, timeout: float | None) -> dict[str, Any]:
    """A request in the words of httpx; `timeout` is for requests that name none."""
    return {
        "method": request.method,
        "url": request.path,
        "params": dict(request.query),
        "headers": dict(request.headers),
        "timeout": timeout if request.timeout is None else request.timeout + _GRACE,
        **({} if request.body is None else {"content": request.body}),
        **({"data": dict(request.fields)} if request.fields else {}),
        **({"files": [(field, (name, content)) for field, name, content in request.files]} if request.files else {}),
    }


def answer_of(response: httpx.Response) -> Answer:
    """The answer in a response that was read."""
    return Answer(response.status_code, dict(response.headers), response.content)


@contextmanager
def sending_to(url: httpx.URL) -> Iterator[None]:
    """Raises NoAnswer and Unreachable in place of httpx's errors."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise NoAnswer(
            f"{url} has not answered in time; is it overloaded? Client(…, timeout=…) waits longer"
        ) from error
    except httpx.RequestError as error:
        raise Unreachable(
            f"{url} cannot be reached: {error}; is the server started, and is this its address?"
        ) from error


class Driven(Generic[T]):
    """
    A call on its way: the steps that are to be taken, by whoever drives it, who puts an answer into `outcome` or lets
    `sending` put the error there; and the result once there are no more.
    """

    result: T

    def __init__(self, steps: Exchange[T]) -> None:
        """Takes no step yet."""
        self._steps = steps
        self.outcome: Answer | BankswitchError | None = None

    def __iter__(self) -> Iterator[Request | Pause]:
        """The next step after what came of the last one. Raises what the call raises."""
        while True:
            outcome, self.outcome = self.outcome, None
            try:
                step = self._steps.throw(outcome) if isinstance(outcome, BankswitchError) else self._steps.send(outcome)
            except StopIteration as stop:
                self.result = stop.value
                return
            yield step

    @contextmanager
    def sending(self, url: httpx.URL) -> Iterator[None]:
        """Makes an error of sending to `url` the outcome: NoAnswer or Unreachable in place of httpx's."""
        try:
            with sending_to(url):
                yield
        except BankswitchError as error:
            self.outcome = error
