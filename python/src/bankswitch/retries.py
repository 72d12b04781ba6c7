"""When a request is sent once more, and how long after."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count

from bankswitch.errors import Unreachable
from bankswitch.wire import Answer, Exchange, Pause, Request, T, json_of

_TOO_MANY, _UNAVAILABLE = 429, 503

#: Codes of 503 that come before anything is done: a change may be sent again after them, too.
_NOT_BEGUN = {"MODEL_NOT_READY", "SERVER_NOT_READY"}


@dataclass(frozen=True)
class Retries:
    """
    At most `times` further attempts, whose pauses are at most `seconds` together. A pause is as long as the server's
    Retry-After says; without one it is `first_pause` seconds, then twice as long each time.
    """

    times: int = 4
    seconds: float = 60.0
    first_pause: float = 0.25


def retried(exchange: Exchange[T], retries: Retries) -> Exchange[T]:
    """The same exchange, with each of its requests sent again where that may help."""
    answer: Answer | None = None
    while True:
        try:
            step = exchange.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if isinstance(step, Pause):
            yield step
            answer = None
        else:
            answer = yield from _attempts(step, retries)


def _attempts(request: Request, retries: Retries) -> Exchange[Answer]:
    """The first answer that no further attempt would better, or the last. Raises Unreachable."""
    waited = 0.0
    for attempt in count():
        answer: Answer | None = None
        failure: Unreachable | None = None
        try:
            answer = yield request
        except Unreachable as error:
            failure = error
        if answer is not None and not _may_pass(request, answer):
            return answer
        if failure is not None and not request.is_idempotent:
            raise failure
        seconds = _retry_after(answer)
        if seconds is None:
            seconds = retries.first_pause * 2**attempt
        waited += seconds
        if attempt >= retries.times or waited > retries.seconds:
            break
        yield Pause(seconds)
    if answer is not None:
        return answer
    assert failure is not None
    raise failure


def _may_pass(request: Request, answer: Answer) -> bool:
    """Whether the same request may succeed later, and has changed nothing so far."""
    if answer.status != _UNAVAILABLE:
        return answer.status == _TOO_MANY
    body = json_of(answer)
    return request.is_idempotent or (isinstance(body, dict) and body.get("code") in _NOT_BEGUN)


def _retry_after(answer: Answer | None) -> float | None:
    """Seconds, from a number or from a date, which counts from the answer's own (RFC 9110, 10.2.3)."""
    told = "" if answer is None else answer.headers.get("retry-after", "").strip()
    if answer is None or told == "":
        return None
    if told.isdecimal():
        return float(told)
    try:
        passed = parsedate_to_datetime(told) - parsedate_to_datetime(answer.headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, passed.total_seconds())
