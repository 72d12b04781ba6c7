"""What calls return. Field names are those of the API, in Python's spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bankswitch.pictures import decoded


@dataclass(frozen=True)
class AnsweredBy:
    """The bank that answered."""

    domain: str
    version: int
    digest: str


@dataclass(frozen=True)
class Recognised:
    """How "auto" has chosen the domain of a picture or a row."""

    #: "good"; "none" when no domain fits it, or the last ones of its stream together, and the default domain has
    #: answered; "size" when the size alone has chosen.
    fit: str
    #: The domain that it looks like by itself.
    nearest: str
    #: The next, where there is one.
    runner_up: str | None
    #: By how many nats that is less likely.
    margin: float | None
    #: Share of the nearest domain's own pictures that are as strange; None where the size has chosen.
    p: float | None


@dataclass(frozen=True)
class RecognisedRow(Recognised):
    """The same of a row, and which domain has answered it."""

    domain: str


@dataclass(frozen=True)
class Inference:
    """Outputs by name; `inference["logits"]` is one of them."""

    model: str
    outputs: Mapping[str, NDArray[Any]]
    #: One; several when rows had domains of their own.
    answered_by: tuple[AnsweredBy, ...]
    #: By row, None for one whose domain was named; empty where all were.
    recognised: tuple[RecognisedRow | None, ...] = ()

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One output. Raises KeyError."""
        return self.outputs[name]

    @property
    def domain(self) -> str:
        """The domain that answered, the first of several."""
        return self.answered_by[0].domain

    @property
    def version(self) -> int:
        """Its version that answered."""
        return self.answered_by[0].version


@dataclass(frozen=True)
class Prediction:
    """A class and how likely it is."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Predictions:
    """The classes of a picture that are most likely, best first."""

    model: str
    domain: str
    version: int
    predictions: tuple[Prediction, ...]
    #: None where the domain was named.
    recognised: Recognised | None = None

    @property
    def best(self) -> Prediction:
        """The most likely class."""
        return self.predictions[0]


@dataclass(frozen=True)
class ComparedBank:
    """What one of several banks makes of a picture."""

    domain: str
    version: int
    #: Best first; none of a model that makes pictures.
    predictions: tuple[Prediction, ...]
    #: How undecided its scores are, in nats; None where they are no probabilities.
    entropy: float | None
    #: "good" or "none", whether the picture is like those of the domain; None where no signature tells.
    fit: str | None = None
    #: Share of the domain's own pictures that are as strange, where a signature tells.
    p: float | None = None


@dataclass(frozen=True)
class Agreement:
    """The class that most banks say."""

    index: int
    label: str
    #: Of the banks, 0 to 1.
    share: float
    #: Those, as "domain:version".
    banks: tuple[str, ...]


@dataclass(frozen=True)
class PictureDifference:
    """How far the pictures of two banks lie apart, in values from 0 to 255."""

    #: The two, as "domain:version".
    banks: tuple[str, ...]
    #: In dB; None for equal pictures.
    psnr: float | None
    mean_difference: float
    largest_difference: int


@dataclass(frozen=True)
class Comparison:
    """A picture under several banks."""

    model: str
    banks: tuple[ComparedBank, ...]
    #: Of a model that classifies.
    agreement: Agreement | None
    #: Of each bank with each other, of a model that makes pictures.
    differences: tuple[PictureDifference, ...]


class _Encoded:
    """A picture as an encoded file."""

    content: bytes

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the file."""
        Path(path).write_bytes(self.content)

    def array(self) -> NDArray[Any]:
        """The pixels, uint8 [height, width] or [height, width, channels]. Needs `pip install pillow`."""
        return decoded(self.content)


@dataclass(frozen=True)
class Picture(_Encoded):
    """A picture that a model has made, as an encoded file."""

    content: bytes
    media_type: str
    domain: str
    version: int
    #: None where the domain was named.
    recognised: Recognised | None = None


@dataclass(frozen=True)
class Sheet(_Encoded):
    """The pictures of several banks side by side, as an encoded file."""

    content: bytes
    media_type: str
    #: From left to right, as "domain:version".
    banks: tuple[str, ...]
    #: Of each what `ComparedBank` has as `fit`.
    fits: tuple[str | None, ...]
    #: Of each what `ComparedBank` has as `p`, in three digits.
    ps: tuple[float | None, ...]


@dataclass(frozen=True)
class Version:
    """An immutable, stored bank."""

    version: int
    digest: str
    fingerprint: str
    source: str
    bytes: int
    created_at: str
    active: bool
    preprocessing: Mapping[str, Any] | None


@dataclass(frozen=True)
class Domain:
    """A domain with its versions."""

    domain: str
    description: str | None
    #: The version that answers; None when none does.
    active: int | None
    #: Grows with every change; for `if_match`.
    revision: int
    default: bool
    labels: Mapping[str, int]
    canary: Mapping[str, Any] | None
    shadow: Mapping[str, Any] | None
    gate: Mapping[str, Any] | None
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Model:
    """A model; `described` is all that the server says of it."""

    name: str
    task: str
    #: "loading", "ready" or "failed".
    state: str
    default_domain: str
    domains: tuple[str, ...]
    #: The network that banks must belong to; None until the model is ready.
    fingerprint: str | None
    described: Mapping[str, Any]


@dataclass(frozen=True)
class Registered:
    """A version that was registered."""

    model: str
    domain: str
    version: int
    digest: str
    active: bool
    #: Tensors of the file that are no statistics.
    ignored: tuple[str, ...]
    #: What should be looked at, as codes and sentences: `CONVOLUTIONS_DIFFER`.
    warnings: tuple[tuple[str, str], ...]
    #: Of the domain, for `if_match`.
    revision: int
    #: Of a blend its parts with their versions and shares, as `domain` takes them.
    blend: str | None = None


@dataclass(frozen=True)
class MovedChannel:
    """A channel of an early layer whose values have moved."""

    layer: str
    channel: int
    #: "mean" or "spread".
    of: str
    #: In standard deviations of one picture.
    shift: float


@dataclass(frozen=True)
class Drift:
    """Whether pictures are still those of a domain; `described` is all that the server says of it."""

    model: str
    domain: str
    #: The active one.
    version: int
    #: "noSignature", "notEnoughSeen", "steady" or "drifting".
    state: str
    #: Those that were looked at; None before the first.
    pictures: int | None
    #: Evidence of drift: 1 or less on average while there is none; None until enough was seen.
    e_value: float | None
    #: The other domain that the last pictures look most like.
    nearest: str | None
    #: Farthest first; none until enough was seen.
    moved: tuple[MovedChannel, ...]
    described: Mapping[str, Any]


@dataclass(frozen=True)
class DriftCandidate:
    """A new domain that the server has made of pictures that fitted none."""

    domain: str
    version: int
    #: Whose pictures they are; empty where no stream was named.
    stream: str
    #: Pictures that it was made of.
    images: int
    #: What answers the stream and is compared with, as "domain:version".
    base: str
    compared_rows: int
    #: Of those, the ones with another best class.
    disagreeing_rows: int
    not_finite_rows: int
    #: Relative to the largest magnitude of the row.
    largest_relative_difference: float
    #: Whether somebody has activated it.
    is_active: bool
    since: str


@dataclass(frozen=True)
class Job:
    """How a calibration stands."""

    id: str
    #: "queued", "running", "succeeded", "failed" or "cancelled".
    state: str
    #: Share of the work that is done, 0 to 1.
    progress: float
    subject: Mapping[str, Any]
    #: Of one that has succeeded.
    result: Mapping[str, Any] | None
    #: `code`, `message` and `details` of one that has not.
    error: Mapping[str, Any] | None

    @property
    def is_ended(self) -> bool:
        """Whether it stays what it is."""
        return self.state not in ("queued", "running")


@dataclass(frozen=True)
class Calibration:
    """The version that a calibration has made; `report` tells per layer how sure its statistics are."""

    model: str
    domain: str
    version: int
    digest: str
    active: bool
    #: Counts: `given`, `used`, `duplicates`, `broken`, and `brokenImages`. Empty, as the report is, for a job whose end
    #: the server has not lived to see, but whose version it found.
    images: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def is_settled(self) -> bool:
        """Whether the pictures were enough."""
        return bool(self.report.get("verdict", {}).get("isSettled"))
