"""Banks in and out, against a real server; every test has a domain of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import load, load_file, save_file

from bankswitch import Client, InvalidCall, MovedChannel, ServerError
from served import ROOT, SIGNS, Call, Server

_NUMBERS = count()


@pytest.fixture
def name() -> str:
    """A domain that nobody has."""
    return f"trial-{next(_NUMBERS)}"


@pytest.fixture
def fog() -> Path:
    """The file of the shipped fog bank."""
    (path,) = (ROOT / "domains" / SIGNS / "fog").glob("000001-*.safetensors")
    return path


def test_models_and_domains_are_listed(call: Call) -> None:
    """With what a bank must fit."""
    assert [one.name for one in call("models")] == ["doubler", "echo", SIGNS]
    model = call("model", SIGNS)
    assert (model.task, model.state, model.default_domain) == ("classification", "ready", "day")
    domains = {one.domain: one for one in call("domains", SIGNS)}
    assert {"day", "fog", "lowlight", "lowres"} <= domains.keys()
    assert domains["day"].default and not domains["fog"].default
    assert domains["fog"].versions[0].fingerprint == model.fingerprint
    assert call("domain", SIGNS, "fog") == domains["fog"]
    assert [one.version for one in call("versions", SIGNS, "fog")] == [1]


def test_a_bank_may_be_a_file_bytes_or_arrays(call: Call, name: str, fog: Path, tmp_path: Path) -> None:
    """All are the same bank, whose digest is that of the shipped one."""
    digest = call("domain", SIGNS, "fog").versions[0].digest
    arrays: dict[str, Any] = load_file(fog)
    np.savez_compressed(tmp_path / "fog.npz", **arrays)
    extra = {**arrays, "conv1.weight": np.zeros((2, 2), np.float32), "bn1.num_batches_tracked": np.int64(3)}
    layer = next(key for key in arrays if key.endswith(".running_mean"))
    swapped = {**arrays, layer: arrays[layer].astype(np.float64)[::-1][::-1]}
    for bank in (fog, str(fog), fog.read_bytes(), tmp_path / "fog.npz", arrays, extra, swapped):
        registered = call("register", SIGNS, name, bank)
        assert registered.digest == digest
        assert registered.active
        if bank is extra:
            assert set(registered.ignored) >= {"conv1.weight"}
    assert [one.version for one in call("versions", SIGNS, name)] == [1, 2, 3, 4, 5, 6, 7]


def test_convolutions_of_another_network_are_a_warning(call: Call, name: str, fog: Path) -> None:
    """The bank is registered all the same."""
    arrays: dict[str, Any] = load_file(fog)
    assert call("register", SIGNS, name, arrays).warnings == ()
    foreign = {**arrays, "conv1.weight": np.zeros((24, 3, 3, 3), np.float32)}
    ((code, message),) = call("register", SIGNS, name, foreign).warnings
    assert code == "CONVOLUTIONS_DIFFER"
    assert "conv1.weight" in message


def test_versions_are_stored_activated_rolled_back_and_removed(call: Call, name: str, fog: Path) -> None:
    """Only at the revision that was expected."""
    first = call("register", SIGNS, name, fog, only_new=True)
    second = call("register", SIGNS, name, fog, activate=False, if_match=first.revision)
    assert (first.version, first.active, second.version, second.active) == (1, True, 2, False)
    with pytest.raises(ServerError, match="revision anew") as stale:
        call("activate", SIGNS, name, 2, if_match=first.revision)
    assert (stale.value.code, stale.value.status) == ("PRECONDITION_FAILED", 412)
    with pytest.raises(ServerError, match="PRECONDITION_FAILED"):
        call("register", SIGNS, name, fog, only_new=True)
    assert call("activate", SIGNS, name, 2, if_match=second.revision).active == 2
    rolled = call("rollback", SIGNS, name)
    assert rolled.active == 1
    assert rolled.revision == call("domain", SIGNS, name).revision
    call("delete", SIGNS, name, 2)
    assert [one.version for one in call("versions", SIGNS, name)] == [1]
    call("delete", SIGNS, name)
    with pytest.raises(ServerError, match=r"it has .*day"):
        call("domain", SIGNS, name)


def test_a_blend_is_kept_as_a_version(call: Call, name: str) -> None:
    """Told by its parts, only stored if that is wished, and guarded like a bank."""
    kept = call("register_blend", SIGNS, name, "day=0.7,lowlight=0.3", description="dusk", only_new=True)
    assert (kept.blend, kept.version, kept.active) == ("day:1=0.7;lowlight:1=0.3", 1, True)
    assert "dusk" in call("domain", SIGNS, name).description
    stored = call("register_blend", SIGNS, name, "day=0.5,lowlight=0.5", activate=False, if_match=kept.revision)
    assert (stored.version, stored.active) == (2, False)
    with pytest.raises(ServerError, match="PRECONDITION_FAILED"):
        call("register_blend", SIGNS, name, "day=0.5,lowlight=0.5", if_match=kept.revision)
    with pytest.raises(ServerError, match="DOMAIN_REFERENCE_INVALID"):
        call("register_blend", SIGNS, name, "day")


def test_drift_is_told_once_there_is_something_to_tell(call: Call) -> None:
    """Nothing of a domain that nobody asks, and no candidate while all pictures fit."""
    told = call("drift", SIGNS, "lowres")
    assert (told.model, told.domain, told.version, told.state) == (SIGNS, "lowres", 1, "notEnoughSeen")
    assert (told.pictures, told.e_value, told.nearest, told.moved) == (None, None, None, ())
    assert told.described["requestsPerFalseAlarm"] == 1_000_000
    assert call("candidates", SIGNS) == []
    with pytest.raises(ServerError, match="DOMAIN_NOT_FOUND"):
        call("drift", SIGNS, "gone")


def test_drift_and_candidates_are_read_whole() -> None:
    """As the server writes them."""
    moved = {"layer": "bn1", "channel": 7, "of": "spread", "shift": -1.5}
    drift = {"model": "m", "domain": "d", "version": 2, "state": "drifting", "requestsPerFalseAlarm": 1000, "share": 1}
    drift |= {"pictures": 60, "eValue": 2e6, "nearest": "fog", "moved": [moved]}
    candidate = {"domain": "candidate-1", "version": 1, "stream": "camera-7", "images": 256, "comparedRows": 9}
    candidate |= {"base": {"domain": "day", "version": 3}, "disagreeingRows": 4, "notFiniteRows": 0}
    candidate |= {"largestRelativeDifference": 0.5, "isActive": False, "since": "2026-01-01T00:00:00.000Z"}
    answers = {"/v1/models/m/domains/d/drift": drift, "/admin/models/m/candidates": {"candidates": [candidate]}}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answers[request.url.path]))
    with Client("http://other", "k" * 16, transport=transport) as client:
        told = client.drift("m", "d")
        assert (told.state, told.pictures, told.e_value, told.nearest) == ("drifting", 60, 2e6, "fog")
        assert told.moved == (MovedChannel("bn1", 7, "spread", -1.5),)
        (found,) = client.candidates("m")
    assert (found.domain, found.base, found.disagreeing_rows, found.is_active) == ("candidate-1", "day:3", 4, False)


def test_preprocessing_belongs_to_the_version(call: Call, name: str, fog: Path) -> None:
    """As it was sent."""
    call("register", SIGNS, name, fog, preprocessing={"mean": [0.4, 0.4, 0.4]})
    (version,) = call("versions", SIGNS, name)
    assert version.preprocessing["mean"] == [0.4, 0.4, 0.4]


def test_a_bank_is_downloaded_by_number_or_as_the_active_one(call: Call, name: str, fog: Path) -> None:
    """And is the one that was registered."""
    call("register", SIGNS, name, fog)
    for version in (1, None, "active"):
        arrays = load(call("download", SIGNS, name, version))
        for key, values in load_file(fog).items():
            np.testing.assert_array_equal(arrays[key], values)
    with pytest.raises(InvalidCall, match='no label "best"; it has none'):
        call("download", SIGNS, name, "best")


def test_differences_are_those_of_the_command(call: Call, fog: Path, tmp_path: Path) -> None:
    """Between stored banks, files and arrays; to the last digit but for the order of sums."""
    day = tmp_path / "day.safetensors"
    day.write_bytes(call("download", SIGNS, "day"))
    ran = subprocess.run(
        ["node", str(ROOT / "dist/main.js"), "diff", str(day), str(fog), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    layers = json.loads(ran.stdout)["layers"]
    expected = [
        {
            "layer": one["layer"],
            "channels": one["channels"],
            "mean_shift": one["meanShift"],
            "deviation_ratio": one["deviationRatio"],
            "distance": one["distance"],
            "worst_channel": one["worstChannel"],
            "gamma_shift": one["gammaShift"],
            "beta_shift": one["betaShift"],
        }
        for one in layers
    ]
    assert len(expected) > 5
    sources: list[tuple[Any, Any]] = [
        (f"{SIGNS}/day", f"{SIGNS}/fog:1"),
        (str(day), fog),
        (day.read_bytes(), load_file(fog)),
    ]
    for a, b in sources:
        found = {one.layer: asdict(one) for one in call("diff", a, b)}
        assert list(found) == [one["layer"] for one in expected]
        for one in expected:
            assert found[one["layer"]] == pytest.approx(one, rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("day", f"{SIGNS}/fog", "neither a file"),
        ("a/b/c", f"{SIGNS}/fog", "neither a file"),
        ({}, {}, "no layers"),
        ({"bn.running_mean": [1.0]}, {"bn.running_mean": [1.0]}, "has no variance"),
        ({"a.running_mean": [1.0]}, {"b.running_mean": [1.0]}, 'only the first bank has the layer "a"'),
        (b"PK\3\4", {}, "this is no bank"),
        (b"{}", {}, "this is no bank"),
        (b"", {}, "this is no bank"),
        ({"bn.running_mean": ["x"]}, {}, "expected numbers"),
        (
            {"bn.running_mean": [1.0], "bn.running_var": [-1.0]},
            {"bn.running_mean": [1.0], "bn.running_var": [1.0]},
            'variance of layer "bn" is -1.0 in channel 0',
        ),
        (
            {"bn.running_mean": [1.0, 2.0], "bn.running_var": [1.0]},
            {"bn.running_mean": [1.0], "bn.running_var": [1.0]},
            "different lengths",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(client: Any, a: Any, b: Any, told: str) -> None:
    """By what is wrong with it."""
    with pytest.raises(InvalidCall, match=told):
        client.diff(a, b)


def test_a_bank_in_json_is_compared_too(client: Any) -> None:
    """By the names that the API has."""
    bank = json.dumps({"layers": {"bn": {"mean": [1, 2], "variance": [1, 4]}}}).encode()
    (layer,) = client.diff(bank, {"bn.running_mean": [2.0, 2.0], "bn.running_var": [1.0, 4.0]})
    assert (layer.layer, layer.channels, layer.worst_channel, layer.gamma_shift) == ("bn", 2, 0, None)
    assert layer.mean_shift == pytest.approx(0.5**0.5, rel=1e-4)


def test_a_bank_of_another_network_is_refused_with_what_to_do(call: Call, name: str) -> None:
    """Whose fingerprint it carries, and which one the server has."""
    foreign = call("download", "doubler", "plain")
    with pytest.raises(ServerError) as caught:
        call("register", SIGNS, name, foreign)
    fingerprint = call("model", SIGNS).fingerprint
    assert (caught.value.code, caught.value.status) == ("BANK_FINGERPRINT_MISMATCH", 400)
    assert caught.value.details["expected"] == fingerprint
    assert fingerprint in str(caught.value)
    assert "client.calibrate(" in str(caught.value)


def test_arrays_of_other_layers_are_refused_by_name(call: Call, name: str, fog: Path, server: Server) -> None:
    """Without a fingerprint the layers tell."""
    with pytest.raises(ServerError, match=r"BANK_LAYER_(UNKNOWN|MISSING)"):
        call("register", SIGNS, name, {"gone.running_mean": np.zeros(4), "gone.running_var": np.ones(4)})
    save_file({"x": np.zeros(1)}, server.folder / "no-bank.safetensors")
    with pytest.raises(ServerError, match="BANK_"):
        call("register", SIGNS, name, server.folder / "no-bank.safetensors")
    with pytest.raises(FileNotFoundError):
        call("register", SIGNS, name, "gone.safetensors")
