"""Errors as exit codes, after sysexits.h: those of the server's own commands."""

from __future__ import annotations

from collections.abc import Mapping

from bankswitch.errors import (
    BankswitchError,
    InvalidCall,
    JobFailed,
    NoAnswer,
    ServerError,
    UnexpectedAnswer,
    Unreachable,
)

USAGE = 64
INVALID = 65
#: What shells say of a process that Ctrl-C has ended.
INTERRUPTED = 130
_INTERNAL = 70
_CORRUPT = 74
_PASSING = 75

_OF_STATUS: Mapping[int, int] = {
    400: INVALID,
    401: 77,
    403: 77,
    404: 66,
    405: INVALID,
    406: INVALID,
    408: _PASSING,
    409: 73,
    412: 73,
    413: INVALID,
    415: INVALID,
    429: _PASSING,
    431: INVALID,
    499: _PASSING,
    500: _INTERNAL,
    501: INVALID,
    503: 69,
    504: _PASSING,
}

#: The codes with status 500 that tell of damaged files, not of the server itself.
_CORRUPT_CODES = {"ARTEFACT_CORRUPT", "MODEL_FILE_UNREADABLE", "STORE_CORRUPT"}

_OF_ERROR: Mapping[type[BankswitchError], int] = {
    InvalidCall: INVALID,
    JobFailed: INVALID,
    NoAnswer: _PASSING,
    UnexpectedAnswer: _INTERNAL,
    Unreachable: 69,
}


def exit_code_of(error: BankswitchError | OSError) -> int:
    """The exit code that tells a script what went wrong."""
    if isinstance(error, OSError):
        return INVALID
    if not isinstance(error, ServerError):
        return _OF_ERROR[type(error)]
    if error.code in _CORRUPT_CODES:
        return _CORRUPT
    return _OF_STATUS.get(error.status, _INTERNAL)
