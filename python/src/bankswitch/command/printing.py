"""What the commands print."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TextIO

from bankswitch.difference import LayerDifference
from bankswitch.results import Calibration, Domain

_BAR_WIDTH = 30


class ProgressBar:
    """On a terminal only; elsewhere it shows nothing."""

    def __init__(self, stream: TextIO) -> None:
        """Shows nothing yet."""
        self._stream = stream

    def show(self, share: float) -> None:
        """Shows a share of the work, 0 to 1."""
        filled = round(_BAR_WIDTH * share)
        self._write(f"\r[{'#' * filled}{' ' * (_BAR_WIDTH - filled)}] {round(100 * share)} %")

    def __enter__(self) -> ProgressBar:
        """The bar itself, which is wiped off at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wipes it off."""
        self._write(f"\r{' ' * (_BAR_WIDTH + 8)}\r")

    def _write(self, text: str) -> None:
        if self._stream.isatty():
            self._stream.write(text)
            self._stream.flush()


def json_line(value: object) -> str:
    """JSON on one line, for programs."""
    return json.dumps(value)


def json_text(value: object) -> str:
    """JSON on many lines, for both."""
    return json.dumps(value, indent=2)


def domains_text(domains: Sequence[Domain]) -> str:
    """A line a domain."""
    return _table(
        ["domain", "active", "versions", "revision", "description"],
        [
            [
                one.domain + (" (default)" if one.default else ""),
                "-" if one.active is None else str(one.active),
                ", ".join(str(version.version) for version in one.versions),
                str(one.revision),
                one.description or "",
            ]
            for one in domains
        ],
    )


def calibration_text(calibration: Calibration) -> str:
    """The version that was made, how sure each layer is, the verdict and the warnings."""
    images, report = calibration.images, calibration.report
    made = f"{calibration.model}: version {calibration.version} of domain {calibration.domain}"
    lines = [f"{made}, {'active' if calibration.active else 'not active'}"]
    if images:
        lines.append(
            f"mode {report['mode']}, {images['used']} of {images['given']} images "
            f"({images['duplicates']} copies, {images['broken']} unreadable)"
        )
        lines += [f"  {broken['name']}: {broken['reason']}" for broken in images["brokenImages"]]
        rows = [
            [layer["layer"], _percent(layer["meanError"]), _percent(layer["varianceError"]), _yes(layer["isSettled"])]
            for layer in report["layers"]
        ]
        lines += ["", _table(["layer", "error of mean", "error of variance", "settled"], rows), ""]
        lines.append(report["verdict"]["text"])
        # The verdict has said already what NOT_SETTLED warns of.
        lines += [
            f"warning {warning['code']}: {warning['message']}"
            for warning in report["warnings"]
            if warning["code"] != "NOT_SETTLED"
        ]
    return "\n".join(lines)


def difference_text(layers: Sequence[LayerDifference]) -> str:
    """A line a layer."""
    return _table(
        ["layer", "channels", "mean shift", "deviation", "distance", "channel", "gamma shift", "beta shift"],
        [
            [
                one.layer,
                str(one.channels),
                _number(one.mean_shift),
                _number(one.deviation_ratio),
                _number(one.distance),
                str(one.worst_channel),
                _number(one.gamma_shift),
                _number(one.beta_shift),
            ]
            for one in layers
        ],
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _percent(share: Any) -> str:  # noqa: ANN401
    return f"{100 * share:.1f} %"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text to the left, of numbers to the right."""
    columns = []
    for head, *cells in zip(heads, *rows, strict=True):
        width = max(map(len, [head, *cells]))
        is_numeric = all(re.fullmatch(r"[\d.,+-]*( %)?", cell) for cell in cells)
        columns.append([cell.rjust(width) if is_numeric else cell.ljust(width) for cell in [head, *cells]])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))
