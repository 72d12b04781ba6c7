"""The commands of docs/tutorial.md, from three folders of pictures to three served domains of a torchvision network."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load

from bankswitch import Client
from bankswitch.torch import load_bank
from served import Server
from small_nets import optional, randomised

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/tutorial.md"
SCRIPT = "docs/tutorial/three_domains.py"

PICTURES = 12
SIDE = 64

LOOKS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda picture: picture,
    "dark": lambda picture: picture.point(lambda value: value // 5),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(4)),
}


def make_pictures(folder: Path) -> None:
    """Coloured blocks and noise, drawn anew for every picture, in a folder for each look."""
    generator = np.random.default_rng(0)
    for name, look in LOOKS.items():
        (folder / name).mkdir(parents=True)
        for at in range(PICTURES):
            blocks = generator.integers(0, 200, (6, 8, 3)).repeat(12, 0).repeat(12, 1)
            pixels = (blocks + generator.integers(0, 56, blocks.shape)).astype(np.uint8)
            look(Image.fromarray(pixels)).save(folder / name / f"{at:02}.png")


def commands() -> list[list[str]]:
    """What the page says to type of the script, as its arguments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split()[2:] for line in lines if line.startswith(f"python {SCRIPT} ")]


def save_weights(path: Path, seed: int) -> torch.nn.Module:
    """Of resnet18 with weights drawn by the seed."""
    torch.manual_seed(seed)
    net: torch.nn.Module = randomised(optional("torchvision").models.resnet18(weights=None), seed)
    torch.save(net.state_dict(), path)
    return net


def test_the_page_leads_to_three_domains(
    start_server: Callable[[Path], Server],
    tmp_path: Path,
    main_js: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    net = save_weights(tmp_path / "weights.pt", 0)
    make_pictures(tmp_path / "pictures")
    tutorial: dict[str, Any] = runpy.run_path(str(ROOT / SCRIPT))
    small = ["--weights", "weights.pt", "--side", str(SIDE)]
    exporting, calibrating = commands()

    tutorial["main"]([*exporting, *small])
    assert "20 batch norms" in capsys.readouterr().out
    server = start_server(tmp_path / "my")
    reached = ["--url", server.url, "--key-file", str(server.folder / ".bankswitch/admin.key")]
    tutorial["main"]([*calibrating, *small, *reached])
    table = capsys.readouterr().out
    for name in LOOKS:
        assert f"| `{name}` | {PICTURES} |" in table

    x = torch.randn(3, 3, SIDE, SIDE)
    outputs = {}
    with Client(server.url, key=server.key) as client:
        assert {one.domain for one in client.domains("scenes")} == {"default", *LOOKS}
        for name in LOOKS:
            outputs[name] = client.infer("scenes", {"input": x.numpy()}, domain=name)["output"]
            load_bank(net, load(client.download("scenes", name)))
            with torch.no_grad():
                expected = net(x).numpy()
            assert np.abs(outputs[name] - expected).max() / np.abs(expected).max() < 1e-4
    for one, other in (("plain", "dark"), ("dark", "blurred"), ("blurred", "plain")):
        assert np.abs(outputs[one] - outputs[other]).max() / np.abs(outputs[one]).max() > 0.01

    save_weights(tmp_path / "others.pt", 1)
    with pytest.raises(SystemExit, match=r'domain "dark" is .* from PyTorch, expected at most 0\.0001'):
        tutorial["main"](["calibrate", "pictures/dark", "--weights", "others.pt", "--side", str(SIDE), *reached])
