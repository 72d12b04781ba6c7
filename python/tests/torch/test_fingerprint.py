"""The fingerprint that export writes is the server's, for networks whose branches run side by side too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from bankswitch.torch import export, split
from bankswitch.torch.fingerprint import javascript_number
from small_nets import Classifier, LabelledNet, Sequence1d, Twice, Volume3d, optional, randomised


class Attention(nn.Module):
    """A squeeze-and-excitation branch, grouped and transposed convolutions, a product by a constant matrix, a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same", groups=1)
        self.bn = nn.BatchNorm2d(8, eps=1e-3)
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.bn_grouped = nn.BatchNorm2d(8, eps=2e-7)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.mix = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.bn(self.conv(x)))
        share = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3)))))).view(x.shape[0], 8, 1, 1)
        x = self.up(self.bn_grouped(self.grouped(x)) * share)
        return (x.flatten(2).transpose(1, 2) @ self.mix.t()).transpose(1, 2)


def labelled() -> nn.Module:
    return split(randomised(LabelledNet()), (torch.randn(2, 3, 16, 16), torch.tensor([0, 0]))).network


def torchvision_net(name: str) -> Callable[[], nn.Module]:
    return lambda: optional("torchvision").models.get_model(name, weights=None)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Classifier, (2, 3, 16, 16)),
        (Sequence1d, (2, 2, 9)),
        (Volume3d, (2, 1, 4, 5, 6)),
        (Twice, (2, 3, 4, 4)),
        (Attention, (2, 3, 16, 16)),
        (labelled, (2, 3, 16, 16)),
        (torchvision_net("resnet18"), (1, 3, 64, 64)),
        (torchvision_net("mobilenet_v3_small"), (1, 3, 64, 64)),
        (torchvision_net("googlenet"), (1, 3, 64, 64)),
        (torchvision_net("shufflenet_v2_x0_5"), (1, 3, 64, 64)),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_it_is_the_servers(
    make: Callable[[], nn.Module], shape: tuple[int, ...], tmp_path: Path, main_js: Path
) -> None:
    made = export(randomised(make()), torch.randn(shape), tmp_path / "models" / "net")
    sizes = "x".join(str(size) for size in (1, *shape[1:]))
    inspected = subprocess.run(
        ["node", str(main_js), "inspect", str(made.folder / "model.onnx"), "--shape", sizes, "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    told = json.loads(inspected.stdout)
    assert made.fingerprint == told["fingerprint"]
    assert list(made.layers) == list(dict.fromkeys(layer["key"] for layer in told["layers"]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.999999747378752e-06, "0.000009999999747378752"),
        (9.999999974752427e-07, "9.999999974752427e-7"),
        (0.0010000000474974513, "0.0010000000474974513"),
        (1e-7, "1e-7"),
        (1.0, "1"),
        (0.5, "0.5"),
        (1e-6, "0.000001"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (123456789.0, "123456789"),
        (1e20, "100000000000000000000"),
    ],
)
def test_numbers_as_javascript_writes_them(value: float, text: str) -> None:
    assert javascript_number(value) == text
