"""Tensors and pictures, against a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bankswitch import Client, InvalidCall, ServerError
from served import SIGNS, Call, Server

_NUMBERS = count()

PIXELS = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)


def logits_in_json(server: Server, domain: str) -> Any:
    """What the server answers to the same tensor in JSON."""
    tensor = {"name": "input", "shape": PIXELS.shape, "datatype": "FP32", "data": PIXELS.ravel().tolist()}
    answer = httpx.post(f"{server.url}/v2/models/{SIGNS}@{domain}/infer", json={"inputs": [tensor]})
    return np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(2, 43)


def test_arrays_come_back_bit_by_bit_under_the_named_domain(call: Call, server: Server) -> None:
    """And differ between domains."""
    fog = call("infer", SIGNS, {"input": PIXELS}, domain="fog")
    np.testing.assert_array_equal(fog["logits"], logits_in_json(server, "fog"))
    assert (fog.model, fog.domain, fog.version, len(fog.answered_by[0].digest)) == (SIGNS, "fog", 1, 64)
    day = call("infer", SIGNS, {"input": PIXELS})
    assert day.domain == "day"
    np.testing.assert_array_equal(day["logits"], logits_in_json(server, "day"))
    assert np.abs(day["logits"] - fog["logits"]).max() > 0.1


def test_each_row_may_have_a_domain_of_its_own(call: Call, server: Server) -> None:
    """Rows come back in order."""
    mixed = call("infer", SIGNS, {"input": PIXELS}, domain=["fog:1", "day"], outputs=["logits"])
    np.testing.assert_array_equal(mixed["logits"][0], logits_in_json(server, "fog")[0])
    np.testing.assert_array_equal(mixed["logits"][1], logits_in_json(server, "day")[1])
    assert {(one.domain, one.version) for one in mixed.answered_by} == {("fog", 1), ("day", 1)}


def test_a_version_may_be_pinned(call: Call, client: Client, server: Server, samples: Path) -> None:
    """One that is not active answers whoever names it."""
    client.register(SIGNS, "pinned", client.download(SIGNS, "fog"))
    stored = client.register(SIGNS, "pinned", client.download(SIGNS, "day"), activate=False)
    pinned = call("infer", SIGNS, {"input": PIXELS}, domain="pinned", version=stored.version)
    assert pinned.version == stored.version
    np.testing.assert_array_equal(pinned["logits"], logits_in_json(server, "day"))
    assert call("infer", SIGNS, {"input": PIXELS}, domain="pinned", version="active").version != stored.version
    picture = samples / "day-road-works.png"
    assert call("predict", SIGNS, picture, domain="pinned", version=stored.version).version == stored.version


def test_a_client_is_for_many_threads(client: Client, server: Server) -> None:
    """Every thread gets its own answers."""
    domains = ["day", "fog", "lowlight"] * 8
    with ThreadPoolExecutor(8) as threads:
        answered = list(threads.map(lambda domain: client.infer(SIGNS, {"input": PIXELS}, domain=domain), domains))
    expected = {domain: logits_in_json(server, domain) for domain in domains[:3]}
    for domain, inference in zip(domains, answered, strict=True):
        assert inference.domain == domain
        np.testing.assert_array_equal(inference["logits"], expected[domain])


def test_best_classes_come_as_bytes(call: Call, server: Server) -> None:
    """Best first."""
    best = call("infer", SIGNS, {"input": PIXELS}, domain="fog", version=1, outputs=["logits"], classes=2)["logits"]
    expected = np.argsort(-logits_in_json(server, "fog"), axis=1)[:, :2]
    assert [[int(text.split(b":")[1]) for text in row] for row in best] == expected.tolist()


ECHOED: dict[str, Any] = {
    "FP32": np.zeros((2, 3, 4, 4), np.float32),
    "UINT8": np.array([[0, 255], [1, 2]], np.uint8),
    "INT32": np.array([[5, 7], [100, 0]], np.int32),
    "INT64": np.array([[2**62, -(2**63)], [0, 1]], np.int64),
    "BOOL": np.array([[True, False], [False, True]]),
    "FP16": np.array([[1.5, -2], [65504, 6e-8]], np.float16),
    "FP64": np.array([[1e300, np.nan], [np.inf, -0.0]], np.float64),
}


def test_every_type_of_tensor_passes_a_real_server(call: Call) -> None:
    """Integers beyond 2^53, infinities and halves, as no JSON could carry them."""
    answered = call("infer", "echo", ECHOED)
    for name, sent in ECHOED.items():
        if name != "FP32":
            np.testing.assert_array_equal(answered[f"{name}_out"], sent, strict=True)
    for name, dtype in {"INT8": "i1", "INT16": "i2", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8"}.items():
        np.testing.assert_array_equal(answered[f"{name}_out"], ECHOED["INT32"].astype(dtype), strict=True)


def test_a_picture_may_be_a_path_bytes_or_pixels(call: Call, samples: Path) -> None:
    """All the same."""
    path = samples / "lowlight-speed-limit-100.png"
    by_path = call("predict", SIGNS, path, domain="lowlight", top=3, timeout=30)
    assert (by_path.best.label, by_path.best.index, by_path.domain, by_path.version) == (
        "speed limit 100",
        7,
        "lowlight",
        1,
    )
    assert len(by_path.predictions) == 3
    assert call("predict", SIGNS, str(path), domain="lowlight", version=1, top=3) == by_path
    assert call("predict", SIGNS, path.read_bytes(), domain="lowlight", top=3) == by_path
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert call("predict", SIGNS, pixels, domain="lowlight", top=3) == by_path
    assert call("predict", SIGNS, path).best.label != "speed limit 100"


def test_several_banks_are_compared(call: Call, samples: Path) -> None:
    """Each says what it says alone."""
    path = samples / "lowlight-speed-limit-100.png"
    told = call("compare", SIGNS, path, domains=["lowlight", "day:1", "day=0.5,fog=0.5"], top=2, timeout=30)
    assert [one.domain for one in told.banks] == ["lowlight", "day", "day:1=0.5;fog:1=0.5"]
    for bank in told.banks:
        assert bank.predictions == call("predict", SIGNS, path, domain=bank.domain, top=2).predictions
        assert bank.entropy is not None and bank.entropy > 0
    assert [bank.fit for bank in told.banks] == ["good", "none", None]
    assert told.banks[0].p > told.banks[1].p > 0 and told.banks[2].p is None
    assert told.agreement is not None and 0 < told.agreement.share <= 1
    assert told.differences == ()
    assert call("compare", SIGNS, path, domains=["day:1=0.5;fog:1=0.5"], top=2).banks == told.banks[2:]
    assert len(call("compare", SIGNS, path).banks) == len(call("compare", SIGNS, path, domains=[]).banks) >= 4


def test_pictures_of_several_banks_lie_side_by_side(call: Call, tmp_path: Path) -> None:
    """In the order of the banks."""
    small = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert call("compare", "doubler", small, domains=["plain"]).banks[0].predictions == ()
    sheet = call("compare_pictures", "doubler", small, domains=["plain"])
    assert (sheet.banks, sheet.media_type, sheet.array().shape) == (("plain:1",), "image/png", (8, 12, 3))
    assert (sheet.fits, sheet.ps) == ((None,), (None,))
    sheet.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == sheet.content


def test_pictures_of_a_stream_decide_together(call: Call, samples: Path) -> None:
    """One that looks otherwise is answered like those before it, in its stream alone."""
    fog, dark = (samples / name for name in ("fog-slippery-road.png", "lowlight-speed-limit-100.png"))
    assert call("predict", SIGNS, fog, domain="auto").domain == "fog"
    camera, other = (f"camera-{next(_NUMBERS)}" for _ in range(2))
    for picture, stream, domain in (
        (dark, camera, "lowlight"),
        (dark, camera, "lowlight"),
        (fog, camera, "lowlight"),
        (fog, other, "fog"),
    ):
        assert call("predict", SIGNS, picture, domain="auto", stream=stream).domain == domain
    assert call("infer", SIGNS, {"input": PIXELS}, domain="auto", stream="camera-7").domain == "day"
    with pytest.raises(InvalidCall, match="no name of a stream"):
        call("predict", SIGNS, fog, domain="auto", stream="camera 7")
    with pytest.raises(ServerError, match="REQUEST_INVALID"):
        call("predict", SIGNS, fog, domain="auto", stream="a/b")


def test_auto_tells_how_it_has_chosen(call: Call, samples: Path) -> None:
    """Of labels as of rows; nothing where the domain was named."""
    fog = samples / "fog-slippery-road.png"
    seen = call("predict", SIGNS, fog, domain="auto")
    recognised = seen.recognised
    assert (recognised.fit, recognised.nearest) == ("good", seen.domain)
    assert recognised.runner_up not in (None, seen.domain) and recognised.margin >= 0 and 0 < recognised.p <= 1
    grey = call("predict", SIGNS, np.full((32, 32, 3), 128, np.uint8), domain="auto")
    assert (grey.domain, grey.recognised.fit, grey.recognised.p < 0.005) == ("day", "none", True)
    assert call("predict", SIGNS, fog, domain="fog").recognised is None
    named, chosen = call("infer", SIGNS, {"input": PIXELS}, domain=["fog", "auto"]).recognised
    assert (named, chosen.domain, chosen.fit, chosen.p < 0.005) == (None, "day", "none", True)
    (alone,) = call("infer", SIGNS, {"input": PIXELS[1:]}, domain="auto").recognised
    assert alone == chosen
    assert call("infer", SIGNS, {"input": PIXELS}, domain="fog").recognised == ()


def test_auto_tells_how_it_has_chosen_for_a_picture(call: Call) -> None:
    """That becomes another."""
    noise = np.random.default_rng(3).integers(0, 256, (40, 12, 12, 3), np.uint8)
    call("calibrate", "doubler", "noisy", {"x": noise[:36].transpose(0, 3, 1, 2) / np.float32(255)})
    made = call("transform", "doubler", noise[36], domain="auto")
    assert (made.recognised.nearest, made.recognised.fit, made.recognised.p > 0) == ("noisy", "good", True)
    sheet = call("compare_pictures", "doubler", noise[36], domains=["noisy", "plain"])
    assert (sheet.banks, sheet.fits) == ((f"noisy:{made.version}", "plain:1"), ("good", None))
    assert sheet.ps[0] == pytest.approx(made.recognised.p) and sheet.ps[1] is None
    grey = call("transform", "doubler", np.full((12, 12, 3), 128, np.uint8), domain="auto").recognised
    assert grey.p == pytest.approx(1 / 37, rel=0.01)
    assert call("transform", "doubler", noise[36], domain="plain").recognised is None
    call("delete", "doubler", "noisy")


def test_a_blend_is_asked_as_it_is_told(call: Call) -> None:
    """With its versions."""
    blend = call("infer", SIGNS, {"input": PIXELS}, domain="day=0.7,lowlight=0.3")
    assert (blend.domain, blend.version) == ("day:1=0.7;lowlight:1=0.3", 1)
    again = call("infer", SIGNS, {"input": PIXELS}, domain=[blend.domain, "day=0.7,lowlight=0.3"])
    assert again.answered_by == blend.answered_by
    np.testing.assert_array_equal(again["logits"], blend["logits"])


def test_a_picture_becomes_another(call: Call, tmp_path: Path) -> None:
    """Twice as large, in the format that is asked for."""
    pixels = np.random.default_rng(2).integers(0, 256, (10, 14, 3), np.uint8)
    doubled = call("transform", "doubler", pixels)
    assert (doubled.media_type, doubled.domain, doubled.version) == ("image/png", "plain", 1)
    assert doubled.array().shape == (20, 28, 3)
    assert doubled.array().dtype == np.uint8
    webp = call("transform", "doubler", pixels, format="webp", quality=50)
    webp.save(tmp_path / "doubled.webp")
    with Image.open(tmp_path / "doubled.webp") as saved:
        assert (saved.format, saved.size) == ("WEBP", (28, 20))
