"""What answers tell of domains that "auto" has chosen: of a picture in headers, of rows in parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bankswitch.results import Recognised, RecognisedRow

#: Parameters with one place for each row, in the order of the fields of RecognisedRow.
_PARAMETERS = ("domain_fit", "domain_nearest", "domain_runner_up", "domain_margin", "domain_p", "domain_of_rows")


def recognised_picture(headers: Mapping[str, str]) -> Recognised | None:
    """Of one picture; None where its domain was named. Raises KeyError and ValueError for headers that are not so."""
    if "x-domain-fit" not in headers:
        return None
    margin, p = headers.get("x-domain-margin"), headers.get("x-domain-p")
    return Recognised(
        headers["x-domain-fit"],
        headers["x-domain-nearest"],
        headers.get("x-domain-runner-up"),
        _number(margin),
        _number(p),
    )


def recognised_rows(parameters: Mapping[str, Any]) -> tuple[RecognisedRow | None, ...]:
    """Of each row, empty where all were named. Raises KeyError and ValueError for parameters that are not so."""
    if "domain_fit" not in parameters:
        return ()
    rows = zip(*(str(parameters[name]).split(",") for name in _PARAMETERS), strict=True)
    return tuple(
        RecognisedRow(fit, nearest, runner_up or None, _number(margin), _number(p), domain) if fit else None
        for fit, nearest, runner_up, margin, p, domain in rows
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None
