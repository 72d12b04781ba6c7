"""What this package raises, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bankswitch.wire import Answer, json_of

_HINTS: Mapping[str, str] = {
    "AUTHENTICATION_REQUIRED": (
        "give the client a key: Client(url, key=Path('.bankswitch/admin.key').read_text()), "
        "or --key-file .bankswitch/admin.key"
    ),
    "KEY_UNKNOWN": (
        "take the key from the server's own folder (.bankswitch/admin.key), "
        "or have one made there: npx bankswitch keys add --scope admin"
    ),
    "KEY_EXPIRED": "have a new one made on the server: npx bankswitch keys add --scope admin",
    "SCOPE_MISSING": "have a key made that may do this: npx bankswitch keys add --scope admin",
    "BANK_FINGERPRINT_MISMATCH": (
        "client.model(name).fingerprint is that of the server's network; export the model folder anew with the "
        "network of this bank, or make a bank for the server's: client.calibrate(model, domain, pictures)"
    ),
    "NOT_ACCEPTABLE": "predict is for models that name classes; transform, or --out FILE, for those that make pictures",
    "PRECONDITION_FAILED": "somebody has changed the domain; take client.domain(model, domain).revision anew",
}


class BankswitchError(Exception):
    """Everything that this package raises on purpose."""


class InvalidCall(BankswitchError, ValueError):
    """An argument that no server would have to see to be refused."""


class Unreachable(BankswitchError):
    """The server could not be reached, or the connection broke."""


class NoAnswer(BankswitchError):
    """The server did not answer in time."""


class UnexpectedAnswer(BankswitchError):
    """What answered is no bankswitch server."""


class ServerError(BankswitchError):
    """
    The server refused. `code` is stable (docs/errors.md), `status` is that of HTTP, `details` tell what was expected
    and received, `request_id` finds the request in the server's log.
    """

    def __init__(
        self, message: str, *, code: str, status: int, details: Mapping[str, Any], request_id: str | None
    ) -> None:
        """`message` is the server's sentence."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.details = details
        self.request_id = request_id

    def __str__(self) -> str:
        """The sentence, the code, what was expected, and what to do where that is known."""
        return described(self.message, self.code, self.details)


class JobFailed(BankswitchError):
    """A calibration that began and did not succeed; `code` and `details` are like those of ServerError."""

    def __init__(self, message: str, *, code: str, details: Mapping[str, Any], job_id: str) -> None:
        """`message` is the server's sentence."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.details = details
        self.job_id = job_id

    def __str__(self) -> str:
        """Like a ServerError."""
        return described(self.message, self.code, self.details)


def described(message: str, code: str, details: Mapping[str, Any]) -> str:
    """A sentence of the server with its code, what it expected and received, and what to do."""
    told = [f"{name} {details[name]}" for name in ("expected", "received") if not _is_said(details.get(name), message)]
    hint = _HINTS.get(code)
    return f"{message} ({'; '.join([code, *told])})" + (f"\n{hint}" if hint else "")


def _is_said(value: object, message: str) -> bool:
    parts = value if isinstance(value, list) else [value]
    return value is None or all(str(part) in message for part in parts)


def require_success(answer: Answer) -> None:
    """Raises ServerError for an answer that is none of success."""
    if 200 <= answer.status < 300:
        return
    body = json_of(answer)
    told = body if isinstance(body, dict) else {}
    code, message, details = told.get("code"), told.get("error"), told.get("details")
    raise ServerError(
        message if isinstance(message, str) else f"the answer has the status {answer.status} and is not bankswitch's",
        code=code if isinstance(code, str) else f"HTTP_{answer.status}",
        status=answer.status,
        details=details if isinstance(details, dict) else {},
        request_id=answer.headers.get("x-request-id"),
    )
