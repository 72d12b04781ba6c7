"""`python -m bankswitch` against a real server: what it prints, and what it exits with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from bankswitch import InvalidCall, JobFailed, NoAnswer, ServerError, UnexpectedAnswer, Unreachable
from bankswitch.calls.calibration import CalibrationOptions
from bankswitch.command import main
from bankswitch.command.arguments import calibration_options, parse_arguments
from bankswitch.command.exit_codes import exit_code_of
from bankswitch.command.printing import ProgressBar
from served import ROOT, SIGNS, Server


class Ran(NamedTuple):
    """What became of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in the server's folder, where its key is."""
    monkeypatch.chdir(server.folder)
    monkeypatch.delenv("BANKSWITCH_ADMIN_KEY", raising=False)
    monkeypatch.delenv("BANKSWITCH_ADMIN_KEY_FILE", raising=False)

    def run(command: str, *arguments: object) -> Ran:
        code = main([command, "--url", server.url, *map(str, arguments)])
        return Ran(code, *capsys.readouterr())

    return run


def test_it_is_a_module(server: Server) -> None:
    """That says what it can."""
    ran = subprocess.run([sys.executable, "-m", "bankswitch", "--help"], capture_output=True, text=True, check=True)
    for command in ("domains", "infer", "predict", "register", "calibrate", "activate", "diff"):
        assert re.search(rf"^ +{command}\b", ran.stdout, re.MULTILINE)
    listed = subprocess.run(
        [sys.executable, "-m", "bankswitch", "domains", "--url", server.url, "--model", "gone"],
        capture_output=True,
        text=True,
    )
    assert (listed.returncode, listed.stdout) == (66, "")
    assert listed.stderr.startswith('bankswitch: there is no model "gone"; there is doubler')


def test_domains(run: Run) -> None:
    """As a table, and as JSON."""
    code, out, _ = run("domains", "--model", SIGNS)
    assert code == 0
    assert re.search(r"^day \(default\) +1 +1 +\d+ +Daylight", out, re.MULTILINE)
    told = json.loads(run("domains", "--model", SIGNS, "--json").out)
    assert {"day", "fog", "lowlight", "lowres"} <= {one["domain"] for one in told}


def test_infer(run: Run, tmp_path: Path) -> None:
    """One array, or several by name."""
    rows = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "rows.npz", input=rows)
    outputs = []
    for file in ("rows.npy", "rows.npz"):
        ran = run(
            "infer",
            "--model",
            SIGNS,
            "--domain",
            "fog",
            "--version",
            "1",
            "--out",
            tmp_path / "out.npz",
            tmp_path / file,
        )
        assert json.loads(ran.out) == {
            "domain": "fog",
            "version": 1,
            "outputs": {"logits": [2, 43]},
            "recognised": [],
        }
        with np.load(tmp_path / "out.npz") as found:
            outputs.append(found["logits"])
    np.testing.assert_array_equal(*outputs)
    ran = run("infer", "--model", SIGNS, "--domain", "auto", "--out", tmp_path / "out.npz", tmp_path / "rows.npy")
    assert [row["fit"] for row in json.loads(ran.out)["recognised"]] == ["none", "none"]
    code, _, err = run("infer", "--model", "echo", "--out", tmp_path / "out.npz", tmp_path / "rows.npy")
    assert (code, "give them by name" in err) == (65, True)
    for content in (b"no array", b"", b"PK\3\4no zip"):
        (tmp_path / "broken.npy").write_bytes(content)
        code, _, err = run("infer", "--model", SIGNS, "--out", tmp_path / "out.npz", tmp_path / "broken.npy")
        assert (code, "neither an npy nor an npz" in err) == (65, True)


def test_predict(run: Run, samples: Path, tmp_path: Path) -> None:
    """Labels, or a picture."""
    ran = run(
        "predict", "--model", SIGNS, "--domain", "lowlight", "--top", "1", samples / "lowlight-speed-limit-100.png"
    )
    told = json.loads(ran.out)
    assert (told["domain"], [one["label"] for one in told["predictions"]]) == ("lowlight", ["speed limit 100"])
    assert told["recognised"] is None
    Image.new("RGB", (32, 32), "grey").save(tmp_path / "grey.png")
    told = json.loads(run("predict", "--model", SIGNS, "--domain", "auto", tmp_path / "grey.png").out)
    assert (told["domain"], told["recognised"]["fit"]) == ("day", "none")
    Image.new("RGB", (8, 6)).save(tmp_path / "small.png")
    assert run("predict", "--model", "doubler", "--out", tmp_path / "large.jpg", tmp_path / "small.png").code == 0
    with Image.open(tmp_path / "large.jpg") as large:
        assert large.size == (16, 12)
    code, _, err = run("predict", "--model", "doubler", tmp_path / "small.png")
    assert (code, "--out FILE" in err) == (65, True)
    assert run("predict", "--model", "doubler", "--out", tmp_path / "large.gif", tmp_path / "small.png").code == 65
    assert run("predict", "--model", SIGNS, tmp_path / "gone.png").code == 65


def test_register_activate_and_diff(run: Run) -> None:
    """As JSON on a line, and a table."""
    (fog,) = (ROOT / "domains" / SIGNS / "fog").glob("000001-*.safetensors")
    for number, activates in ((1, True), (2, False)):
        ran = run("register", "--model", SIGNS, "--domain", "typed", *([] if activates else ["--no-activate"]), fog)
        told = json.loads(ran.out)
        assert (told["version"], told["active"], told["domain"]) == (number, activates, "typed")
    activated = json.loads(run("activate", "--model", SIGNS, "--domain", "typed", "--version", 2).out)
    assert (activated["domain"], activated["active"]) == ("typed", 2)
    code, _, err = run("activate", "--model", SIGNS, "--domain", "typed", "--version", 1, "--if-match", 1)
    assert (code, "PRECONDITION_FAILED" in err) == (73, True)
    equal = run("diff", f"{SIGNS}/typed:1", fog)
    assert re.search(r"^\S+ +\d+ +0\.000 +1\.000 +0\.000 +0 +0\.000 +0\.000$", equal.out, re.MULTILINE)
    layers = json.loads(run("diff", f"{SIGNS}/day", f"{SIGNS}/typed", "--json").out)["layers"]
    assert max(layer["distance"] for layer in layers) > 0.01


def test_calibrate(run: Run, samples: Path) -> None:
    """What `npx bankswitch calibrate` prints."""
    ran = run("calibrate", "--model", SIGNS, "--domain", "camera", "--prior-images", 8, "--no-activate", samples)
    assert ran.out.startswith(
        f"{SIGNS}: version 1 of domain camera, not active\nmode sequential, 8 of 8 images (0 copies, 0"
    )
    assert re.search(r"^layer +error of mean +error of variance +settled$", ran.out, re.MULTILINE)
    assert ran.err == ""
    told = json.loads(run("calibrate", "--model", SIGNS, "--domain", "camera", "--json", samples).out)
    assert (told["version"], told["active"], told["images"]["used"]) == (2, True, 8)
    code, _, err = run("calibrate", "--model", SIGNS, "--domain", "camera", "--minimum-images", 9, samples)
    assert (code, "CALIBRATION_TOO_FEW_IMAGES" in err) == (65, True)


def test_every_option_of_a_calibration_can_be_typed() -> None:
    """And is passed on by its name."""
    values: dict[str, Any] = {
        "mode": "ema", "base": "day", "batch_size": 4, "momentum": "null", "batches_tracked": 1, "prior_images": 2.5,
        "prior_kind": "mixture", "signature_size": "32x32", "layers": "bn1,layer1.*", "tolerance": 0.2,
        "minimum_images": 3, "description": "dark",
    }  # fmt: skip
    flags = [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    switches = ["fresh", "stop_early", "strict"]
    flags += [f"--{name.replace('_', '-')}" for name in switches]
    given = calibration_options(
        parse_arguments(["calibrate", "--model", "m", "--domain", "d", *flags, "--no-activate", "pictures"])
    )
    assert given == {**values, **dict.fromkeys(switches, True), "activate": False}
    assert given.keys() == set(CalibrationOptions.__annotations__)


def test_the_key_comes_from_a_file_or_the_environment(
    run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was named goes before one that was only found."""
    remove = ("activate", "--model", SIGNS, "--domain", "gone", "--version", 1)
    assert run(*remove).code == 66
    (tmp_path / "wrong.key").write_text("a-wrong-key-of-some-length\n")
    code, _, err = run(*remove, "--key-file", tmp_path / "wrong.key")
    assert (code, "KEY_UNKNOWN" in err, "a-wrong-key" in err) == (77, True, False)
    monkeypatch.chdir(tmp_path)
    assert "AUTHENTICATION_REQUIRED" in run(*remove).err
    assert run(*remove, "--key-file", server.folder / ".bankswitch/admin.key").code == 66
    monkeypatch.setenv("BANKSWITCH_ADMIN_KEY_FILE", str(server.folder / ".bankswitch/admin.key"))
    assert run(*remove).code == 66
    monkeypatch.setenv("BANKSWITCH_ADMIN_KEY", "a-wrong-key-of-some-length")
    assert run(*remove).code == 77
    assert run(*remove, "--key-file", tmp_path / "gone.key").code == 65
    assert run(*remove, "--key", "secret").code == 65


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["gone"], 64),
        ([], 64),
        (["domains"], 65),
        (["domains", "--model", "m", "--gone"], 65),
        (["domains", "--model", "m", "--url", "127.0.0.1"], 65),
        (["register", "--model", "m", "--domain", "d", "--preprocessing", "{", "f"], 65),
        (["domains", "--help"], 0),
        (["--version"], 0),
    ],
)
def test_wrong_calls_show_the_help(capsys: pytest.CaptureFixture[str], argv: list[str], code: int) -> None:
    """On standard error, and exit as the server's commands do."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert (out == "") == (code != 0)
    assert (err == "") == (code == 0)


def test_exit_codes_are_those_of_the_servers_commands() -> None:
    """For every code in docs/errors.md, by what src/cli/exit-code.ts says of its kind."""
    text = (ROOT / "src/cli/exit-code.ts").read_text()
    of_kind = {kind: int(code) for kind, code in re.findall(r"^  '?([a-z-]+)'?: (\d+),?$", text, re.MULTILINE)}
    rows = re.findall(
        r"^\| `([A-Z_0-9]+)` \| ([a-z-]+) \| (\d+) \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
    )
    assert len(rows) > 100
    for code, kind, status in rows:
        error = ServerError("", code=code, status=int(status), details={}, request_id=None)
        assert exit_code_of(error) == of_kind[kind], code
    assert [exit_code_of(error("")) for error in (InvalidCall, NoAnswer, UnexpectedAnswer, Unreachable)] == [
        65,
        75,
        70,
        69,
    ]
    assert exit_code_of(JobFailed("", code="X", details={}, job_id="")) == 65
    assert exit_code_of(ServerError("", code="HTTP_502", status=502, details={}, request_id=None)) == 70


def test_progress_is_shown_on_a_terminal_only() -> None:
    """And wiped off in the end."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for stream, expected in ((StringIO(), ""), (Terminal(), f"\r[{'#' * 15}{' ' * 15}] 50 %\r{' ' * 38}\r")):
        with ProgressBar(stream) as bar:
            bar.show(0.5)
        assert stream.getvalue() == expected
