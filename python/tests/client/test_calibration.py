"""Domains from unlabelled pictures, against a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bankswitch import AsyncClient, Calibration, CalibrationOptions, Client, InvalidCall, Job, JobFailed, ServerError
from bankswitch.calls.calibration import calibration_of
from served import SIGNS, Call, Server


def noise(seed: int) -> Any:
    """Sixteen pictures of 20 x 20 pixels."""
    return list(np.random.default_rng(seed).integers(0, 256, (16, 20, 20, 3), np.uint8))


def test_a_folder_of_pictures_becomes_a_domain(call: Call, samples: Path) -> None:
    """With progress on the way, and what is known of it in the end."""
    seen: list[Job] = []
    made: Calibration = call("calibrate", SIGNS, "samples", samples, on_progress=seen.append, description="all kinds")
    assert (made.domain, made.active, made.images["used"]) == ("samples", True, 8)
    assert seen[-1].state == "succeeded"
    assert [job.progress for job in seen] == sorted(job.progress for job in seen)
    assert made.is_settled == (made.report["verdict"]["imagesNeeded"] <= 8)
    domain = call("domain", SIGNS, "samples")
    assert (domain.active, domain.description) == (made.version, "all kinds")
    assert call("predict", SIGNS, samples / "day-road-works.png", domain="samples").version == made.version


def test_pixels_bytes_and_paths_may_be_mixed(client: Client, samples: Path, tmp_path: Path) -> None:
    """And options are those of the API in Python's spelling."""
    Image.fromarray(noise(3)[0]).save(tmp_path / "one.jpg")
    pictures = [*noise(4), samples, (tmp_path / "one.jpg").read_bytes(), str(tmp_path / "one.jpg")]
    first = client.model(SIGNS).described["compiled"]["layers"][0]["key"]
    options: CalibrationOptions = {
        "mode": "ema", "momentum": None, "batch_size": 4, "layers": [first], "base": "fog:1", "prior_images": 8,
        "prior_kind": "schneider", "activate": False,
    }  # fmt: skip
    made = client.calibrate(SIGNS, "mixed", pictures, **options)
    assert (made.active, made.report["mode"]) == (False, "ema")
    assert (made.images["given"], made.images["used"], made.images["duplicates"]) == (26, 25, 1)
    assert len(made.report["layers"]) == 1


def test_tensors_are_named_as_the_input(client: Client, tmp_path: Path) -> None:
    """For pictures that are prepared already."""
    tensor = np.random.default_rng(5).normal(size=(16, 3, 32, 32)).astype(np.float32)
    assert client.calibrate(SIGNS, "tensors", {"input": tensor}).images["used"] == 16
    doubler = client.calibrate("doubler", "tensors", {"x": tensor[:, :, :16, :16].transpose(0, 1, 3, 2)})
    assert doubler.images["used"] == 16


def test_a_job_can_be_watched_and_cancelled(server: Server) -> None:
    """One that has not ended ends as cancelled, and one that has stays what it is."""
    with Client(server.url, server.key) as client:
        job = client.start_calibration(SIGNS, "watched", noise(6))
        states = [one.state for one in client.watch(job.id)]
        assert states[-1] == "succeeded"
        assert client.cancel(job.id).state == "succeeded"
        assert job.id in {one.id for one in client.jobs()}
        assert calibration_of(client.job(job.id)).domain == "watched"
        first = client.start_calibration(SIGNS, "first", noise(7) * 20)
        second = client.start_calibration(SIGNS, "second", noise(8))
        cancelled = client.cancel(second.id)
        assert cancelled.state == "cancelled"
        with pytest.raises(JobFailed, match="cancelled") as caught:
            calibration_of(cancelled)
        assert (caught.value.code, caught.value.job_id) == ("JOB_CANCELLED", second.id)
        client.cancel(first.id)


def test_a_job_can_be_watched_by_an_event_loop(server: Server) -> None:
    """By an asynchronous iterator."""

    async def watch() -> list[str]:
        async with AsyncClient(server.url, server.key) as client:
            job = await client.start_calibration(SIGNS, "looped", noise(9))
            return [one.state async for one in client.watch(job.id)]

    assert asyncio.run(watch())[-1] == "succeeded"


def test_a_job_that_fails_is_an_error(call: Call) -> None:
    """With the code that the API has."""
    with pytest.raises(JobFailed) as caught:
        call("calibrate", SIGNS, "failed", noise(10)[:3])
    assert caught.value.code == "CALIBRATION_TOO_FEW_IMAGES"
    assert "expected" in caught.value.details


def test_wrong_wishes_are_refused_before_a_job_begins(call: Call, tmp_path: Path) -> None:
    """By the client or by the server, whichever knows."""
    with pytest.raises(InvalidCall, match="there are no pictures in"):
        call("calibrate", SIGNS, "none", tmp_path)
    with pytest.raises(InvalidCall, match="transpose"):
        call("calibrate", SIGNS, "none", np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(InvalidCall, match="uint8"):
        call("calibrate", SIGNS, "none", [np.zeros((20, 20, 3))])
    with pytest.raises(ServerError, match="CALIBRATION_OPTIONS_INVALID"):
        call("calibrate", SIGNS, "none", noise(11), mode="gone")
    with pytest.raises(ServerError, match="PRECONDITION_FAILED"):
        call("calibrate", SIGNS, "day", noise(12), if_match=10**9)


def test_the_options_are_those_of_the_server(server: Server) -> None:
    """As its own description of the form lists them."""
    document = httpx.get(f"{server.url}/openapi.json").json()
    path = document["paths"]["/admin/models/{model}/domains/{domain}/calibrations"]
    (content,) = path["post"]["requestBody"]["content"].values()
    offered = set(content["schema"]["properties"]) - {"images", "tensors"}

    def spelt(name: str) -> str:
        return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)

    assert {spelt(name) for name in offered} == set(CalibrationOptions.__annotations__)
