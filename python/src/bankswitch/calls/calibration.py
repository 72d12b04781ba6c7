"""Banks from unlabelled pictures: jobs that are started, watched and cancelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from bankswitch.calls.asking import ask, guarding_headers, read
from bankswitch.errors import JobFailed
from bankswitch.pictures import Images, read_images
from bankswitch.results import Calibration, Job
from bankswitch.wire import Exchange, Pause, Request, path_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: How long a job is left alone before it is looked at again.
POLL_SECONDS = 0.3


class CalibrationOptions(TypedDict, total=False):
    """What can be asked of a calibration; docs/calibration.md has meanings and defaults."""

    mode: Literal["sequential", "fixed", "fvcore", "torch", "ema", "signature"]
    signature_size: str
    base: str
    batch_size: int
    momentum: float | None
    fresh: bool
    batches_tracked: int
    prior_images: float
    prior_kind: Literal["mixture", "schneider"]
    layers: Sequence[str]
    tolerance: float
    stop_early: bool
    minimum_images: int
    strict: bool
    activate: bool
    description: str


def start_calibration(
    model: str, domain: str, images: Images, *, if_match: int | None = None, **options: Unpack[CalibrationOptions]
) -> Exchange[Job]:
    """Begins what `calibrate` does and returns its job. Raises InvalidCall, ServerError and OSError."""
    answer = yield from ask(
        Request(
            "POST",
            path_of("admin", "models", model, "domains", domain, "calibrations"),
            headers=guarding_headers(if_match),
            fields={_field_name(name): _field(value) for name, value in options.items()},
            files=read_images(images),
            is_idempotent=False,
        )
    )
    started: str = read(answer, lambda body: body["id"])
    return (yield from job(started))


def job(job_id: str) -> Exchange[Job]:
    """How a job stands. Raises ServerError."""
    answer = yield from ask(Request("GET", path_of("admin", "jobs", job_id)))
    return read(answer, _job)


def jobs() -> Exchange[list[Job]]:
    """All jobs, newest first, without their results. Raises ServerError."""
    answer = yield from ask(Request("GET", path_of("admin", "jobs")))
    return read(answer, lambda body: [_job(one) for one in body["jobs"]])


def cancel(job_id: str) -> Exchange[Job]:
    """Cancels a job; one that has ended stays what it is. Raises ServerError."""
    answer = yield from ask(Request("DELETE", path_of("admin", "jobs", job_id)))
    return read(answer, _job)


def calibrate(
    model: str,
    domain: str,
    images: Images,
    *,
    on_progress: Callable[[Job], object] | None = None,
    if_match: int | None = None,
    **options: Unpack[CalibrationOptions],
) -> Exchange[Calibration]:
    """
    Makes a bank for a domain, new or not, from unlabelled pictures, and waits for it. Needs an admin key.

    `images` are paths of pictures, archives or folders, bytes of pictures or archives, or uint8 pixels, one or many; or
    the model's input as it is, {"input": [images, …]}. `on_progress` is called with the job whenever it was looked
    at. `if_match` is the revision that the domain must have until the end. Raises InvalidCall, ServerError, OSError,
    and JobFailed when the job fails or is cancelled.
    """
    now = yield from start_calibration(model, domain, images, if_match=if_match, **options)
    while True:
        if on_progress is not None:
            on_progress(now)
        if now.is_ended:
            return calibration_of(now)
        yield Pause(POLL_SECONDS)
        now = yield from job(now.id)


def calibration_of(job: Job) -> Calibration:
    """What a job that has ended has made. Raises JobFailed for one that has made nothing."""
    if job.result is None:
        error = job.error or {}
        raise JobFailed(
            error.get("message", f"the job is {job.state}"),
            code=error.get("code", "JOB_" + job.state.upper()),
            details=error.get("details", {}),
            job_id=job.id,
        )
    result = job.result
    return Calibration(
        result["model"],
        result["domain"],
        result["version"],
        result["digest"],
        result["active"],
        result.get("images", {}),
        result.get("report", {}),
    )


def _job(body: Mapping[str, Any]) -> Job:
    return Job(body["id"], body["state"], body["progress"], body["subject"], body.get("result"), body.get("error"))


def _field_name(name: str) -> str:
    """The name that the API has for an option: `batchSize` for `batch_size`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return "null" if value is None else str(value)
