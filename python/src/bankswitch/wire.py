"""
Requests and answers without a network.

A call is a generator: it yields a Request and is sent its Answer, or yields a Pause and is sent None, and returns its
result. Whoever drives it does the sending and the sleeping, in a thread or in an event loop.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote


class FormFile(NamedTuple):
    """A file of a form."""

    field: str
    name: str
    content: bytes


@dataclass(frozen=True)
class Request:
    """What is to be sent: either `body`, or a form of `fields` and `files`, or nothing."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[FormFile] = ()
    #: Seconds that the server is given for it; None for what the client is set to.
    timeout: float | None = None
    #: Whether doing it twice is the same as doing it once.
    is_idempotent: bool = True


@dataclass(frozen=True)
class Answer:
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Pause:
    """Nothing is to be done for so many seconds."""

    seconds: float


T = TypeVar("T")

Exchange: TypeAlias = Generator[Request | Pause, Answer | None, T]


def path_of(*segments: str | int) -> str:
    """A path of these segments, each quoted."""
    return "".join(f"/{quote(str(segment), safe='')}" for segment in segments)


def json_of(answer: Answer) -> Any:  # noqa: ANN401
    """The JSON of the body; None for a body that is none."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None
