"""What calls have in common: asking, reading JSON, naming a domain, guarding a change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, TypeVar

from bankswitch.errors import InvalidCall, UnexpectedAnswer, require_success
from bankswitch.wire import Answer, Exchange, Request, json_of

T = TypeVar("T")


def ask(request: Request) -> Exchange[Answer]:
    """The answer of success. Raises ServerError."""
    answer = yield request
    assert answer is not None
    require_success(answer)
    return answer


def read(answer: Answer, reader: Callable[[Any], T]) -> T:
    """What `reader` makes of the answer's JSON. Raises UnexpectedAnswer for what it cannot read."""
    return made(answer, lambda: reader(json_of(answer)))


def made(answer: Answer, make: Callable[[], T]) -> T:
    """What `make` makes of the answer. Raises UnexpectedAnswer when something is missing in it."""
    try:
        return make()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(
            f"the answer is not bankswitch's; is this the address of its server? ({error!r} in {answer.body[:100]!r})"
        ) from error


def naming_headers(
    domain: str | None, version: int | str | None, timeout: float | None, stream: str | None = None
) -> dict[str, str]:
    """
    The headers that say which bank is to answer, within how many seconds, and of which stream it is. `version` is a
    number or a label. Raises InvalidCall for a version of no domain or of a blend, and for a timeout or a
    name that is none.
    """
    headers = {}
    if domain is None and version is not None:
        raise InvalidCall(f"version {version} of which domain? give domain='…' as well")
    if domain is not None:
        if version is not None and _is_blend(domain):
            raise InvalidCall('a blend has no version: each of its parts may have one, such as "day:1=0.5,fog=0.5"')
        reference = domain if version is None else f"{domain}:{version}"
        if not re.fullmatch(r"[!-~]+", reference):
            raise InvalidCall(f"{reference!r} is no name of a domain; expected letters, digits, '.', '-' and '_'")
        headers["x-domain"] = reference
    if stream is not None:
        if not re.fullmatch(r"[!-~]+", stream):
            raise InvalidCall(f"{stream!r} is no name of a stream; expected letters, digits, '.', '-' and '_'")
        headers["x-stream"] = stream
    if timeout is not None:
        if not timeout > 0:
            raise InvalidCall(f"the timeout is {timeout}; expected seconds, more than 0")
        headers["x-timeout-ms"] = str(ceil(timeout * 1000))
    return headers


def domain_list(domains: Sequence[str]) -> str:
    """Several domains in one text: between them stand commas, and so semicolons within a blend."""
    return ",".join(domain.replace(",", ";") if _is_blend(domain) else domain for domain in domains)


def _is_blend(domain: str) -> bool:
    return "=" in domain


def guarding_headers(if_match: int | None, only_new: bool = False) -> dict[str, str]:
    """The headers that let a change happen at that revision of the domain only, or only where there is no domain."""
    if only_new and if_match is not None:
        raise InvalidCall("only_new is for domains that have no revision yet; leave out if_match")
    if only_new:
        return {"if-none-match": "*"}
    return {} if if_match is None else {"if-match": f'"{if_match}"'}
