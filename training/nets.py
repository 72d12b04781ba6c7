"""A residual net whose convolutions are shared and whose batch norms are private to a domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F

Norm = Callable[[int], nn.Module]


class BankedBatchNorm2d(nn.Module):
    """One BatchNorm2d per domain; `domain` says which of them runs (Chang et al., DSBN, CVPR 2019)."""

    def __init__(self, channels: int, domains: tuple[str, ...]) -> None:
        super().__init__()
        self.banks = nn.ModuleDict({domain: nn.BatchNorm2d(channels) for domain in domains})
        self.domain = domains[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.banks[self.domain](x)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
            if stride != 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class SignNet(nn.Module):
    """Three stages of two residual blocks; any input height and width; about 0.4 M weights at width 24."""

    def __init__(self, norm: Norm, classes: int, width: int = 24) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = norm(width)
        self.layer1 = nn.Sequential(Block(width, width, 1, norm), Block(width, width, 1, norm))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2, norm), Block(2 * width, 2 * width, 1, norm))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2, norm), Block(4 * width, 4 * width, 1, norm))
        self.fc = nn.Linear(4 * width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class SuperBlock(nn.Module):
    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class SuperResolver(nn.Module):
    """Doubles a picture (values 0..1): residual blocks beside a bicubic skip; starts as bicubic interpolation."""

    def __init__(self, norm: Norm, channels: int = 32, blocks: int = 6) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, 1, 1)
        self.body = nn.Sequential(*[SuperBlock(channels, norm) for _ in range(blocks)])
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn = norm(channels)
        self.tail = nn.Conv2d(channels, 12, 3, 1, 1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.head(x - 0.5)
        h = h + self.bn(self.conv(self.body(h)))
        skip = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        return F.pixel_shuffle(self.tail(h), 2) + skip


def banked(model: nn.Module) -> Iterator[tuple[str, BankedBatchNorm2d]]:
    """Every switchable batch norm with its module path, in forward order of definition."""
    for path, module in model.named_modules():
        if isinstance(module, BankedBatchNorm2d):
            yield path, module


def select(model: nn.Module, domain: str) -> None:
    """Switches the whole net to one domain's bank."""
    for _, module in banked(model):
        module.domain = domain


def plain_state(model: nn.Module, domain: str) -> dict[str, torch.Tensor]:
    """The state_dict that an ordinary net with BatchNorm2d would have under this domain."""
    marker = ".banks."
    state: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        head, found, tail = key.partition(marker)
        if not found:
            state[key] = value
        elif tail.startswith(domain + "."):
            state[f"{head}.{tail[len(domain) + 1:]}"] = value
    return state
