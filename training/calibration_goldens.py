"""Small nets and what PyTorch makes of their statistics, for the tests of calibration.

    python calibration_goldens.py --repository ..

writes `test/golden/calibration-<net>.onnx` and `.safetensors`: the images, and per mode the means and variances of every
layer. The batches are of unequal size.

    torch        torch.optim.swa_utils.update_bn
    ema          running averages of a forward in training mode, momentum 0.1, from the net's own statistics
    cumulative   the same with momentum None, from reset statistics
    fvcore       population statistics of what the layers see in training mode (what fvcore's precise_bn.py estimates)
    fixed        population statistics of what the layers see in evaluation mode
    sequential   population statistics layer by layer, each layer seeing what the settled ones before it give

The last three accumulate in float64; the last two run the whole net in float64.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import update_bn

from export import export_model, save
from nets import Block

IMAGES = 23
BATCH = 8
SIDE = 12
MOMENTUM = 0.1

Statistics = dict[str, tuple[torch.Tensor, torch.Tensor]]


class Residual(nn.Module):
    """Two residual blocks, the second of which halves the picture: layers in sequence, side by side and across a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(8, 8, 1, nn.BatchNorm2d), Block(8, 12, 2, nn.BatchNorm2d))
        self.fc = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class PreActivation(nn.Module):
    """Batch norm before the convolution, a bias in front of one, and one over features without pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(3, eps=1e-3)
        self.conv1 = nn.Conv2d(3, 6, 3, 1, 1, bias=True)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.fc1 = nn.Linear(6, 7)
        self.bn3 = nn.BatchNorm1d(7)
        self.fc2 = nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(self.bn0(x))))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc2(F.relu(self.bn3(self.fc1(x.mean((2, 3))))))


def layers_of(net: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}


def randomise(net: nn.Module, generator: torch.Generator) -> None:
    for layer in layers_of(net).values():
        for tensor, low, high in ((layer.weight, 0.5, 1.5), (layer.bias, -0.5, 0.5)):
            tensor.data = low + (high - low) * torch.rand(tensor.shape, generator=generator)
        layer.running_mean = torch.randn(layer.num_features, generator=generator) * 0.3
        layer.running_var = 0.5 + torch.rand(layer.num_features, generator=generator)


def watch(net: nn.Module, run: Callable[[], None]) -> Statistics:
    """Population statistics, in float64, of what every layer sees during `run`."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in layers_of(net)}
    handles = [
        layer.register_forward_pre_hook(lambda _module, inputs, name=name: seen[name].append(
            inputs[0].detach().double().transpose(0, 1).flatten(1)
        ))
        for name, layer in layers_of(net).items()
    ]
    with torch.no_grad():
        run()
    for handle in handles:
        handle.remove()
    joined = {name: torch.cat(values, 1) for name, values in seen.items()}
    return {name: (values.mean(1), values.var(1, unbiased=False)) for name, values in joined.items()}


def buffers(net: nn.Module) -> Statistics:
    return {name: (layer.running_mean.double(), layer.running_var.double()) for name, layer in layers_of(net).items()}


def by_update_bn(net: nn.Module, batches: list[torch.Tensor]) -> Statistics:
    update_bn(batches, net)
    return buffers(net)


def by_training(net: nn.Module, batches: list[torch.Tensor], momentum: float | None) -> Statistics:
    for layer in layers_of(net).values():
        layer.momentum = momentum
        if momentum is None:
            layer.reset_running_stats()
    net.train()
    with torch.no_grad():
        for batch in batches:
            net(batch)
    return buffers(net)


def by_population_in_training(net: nn.Module, batches: list[torch.Tensor]) -> Statistics:
    net.train()
    return watch(net, lambda: [net(batch) for batch in batches])


def by_population_in_evaluation(net: nn.Module, batches: list[torch.Tensor]) -> Statistics:
    exact = net.double().eval()
    return watch(exact, lambda: exact(torch.cat(batches).double()))


def by_level(net: nn.Module, batches: list[torch.Tensor]) -> Statistics:
    """Settles one layer after another, in the order in which they run; each pass sees all images at once."""
    exact = net.double().eval()
    images = torch.cat(batches).double()
    for name in list(watch(exact, lambda: exact(images))):
        mean, variance = watch(exact, lambda: exact(images))[name]
        layers_of(exact)[name].running_mean, layers_of(exact)[name].running_var = mean, variance
    return buffers(exact)


MODES: dict[str, Callable[[nn.Module, list[torch.Tensor]], Statistics]] = {
    "torch": by_update_bn,
    "ema": lambda net, batches: by_training(net, batches, MOMENTUM),
    "cumulative": lambda net, batches: by_training(net, batches, None),
    "fvcore": by_population_in_training,
    "fixed": by_population_in_evaluation,
    "sequential": by_level,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", required=True, type=Path)
    folder = parser.parse_args().repository / "test" / "golden"
    for name, make in (("residual", Residual), ("pre-activation", PreActivation)):
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(1)
        net = make()
        randomise(net, generator)
        # Images that differ in brightness and contrast, or batches would all look alike.
        brightness = torch.randn(IMAGES, 1, 1, 1, generator=generator)
        contrast = 0.2 + torch.rand(IMAGES, 1, 1, 1, generator=generator)
        images = brightness + contrast * torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator)
        batches = list(images.split(BATCH))
        golden = {"images": images}
        for mode, statistics_of in MODES.items():
            for layer, (mean, variance) in statistics_of(copy.deepcopy(net), batches).items():
                golden[f"{mode}.{layer}.mean"], golden[f"{mode}.{layer}.variance"] = mean.clone(), variance.clone()
        with TemporaryDirectory() as work:
            export_model({"default": net.eval()}, images[:2], folder / f"calibration-{name}.onnx", Path(work))
        save({key: value.contiguous() for key, value in golden.items()}, folder / f"calibration-{name}.safetensors")


if __name__ == "__main__":
    main()
