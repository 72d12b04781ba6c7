"""Small networks, one of each kind that the package takes or refuses."""

# PyTorch is typed in part.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type, assignment, call-overload, import-untyped"

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

Net = TypeVar("Net", bound=nn.Module)


def randomised(model: Net, seed: int = 0) -> Net:
    """Statistics far from 0 and 1, so that one bank does not pass for another; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        held = {**module._parameters, **module._buffers}
        if held.get("running_mean") is None:
            continue
        ranges = {"running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5), "weight": (0.5, 1.5), "bias": (-0.3, 0.3)}
        for name, (low, high) in ranges.items():
            tensor = held.get(name)
            if tensor is not None:
                tensor.data.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
    return model.eval()


def with_statistics_of(model: Net, seed: int) -> Net:
    """A copy with other statistics and the same convolutions."""
    return randomised(copy.deepcopy(model), seed)


class Classifier(nn.Module):
    """Two convolutions side by side behind one; any height and width; five classes."""

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, 2, 1, bias=False)
        self.bn1 = norm(6)
        self.left, self.right = nn.Conv2d(6, 8, 3, 1, 1, bias=False), nn.Conv2d(6, 8, 1)
        self.bn_left, self.bn_right = norm(8), norm(8)
        self.act = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.bn_left(self.left(x)) + self.bn_right(self.right(x)))
        return self.fc(self.dropout(x.mean((2, 3))))


class Sequence1d(nn.Module):
    """BatchNorm1d over sequences, and over features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 4, 3, padding=1)
        self.bn = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4, 6)
        self.bn_features = nn.BatchNorm1d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.conv(x))).mean(2)
        return self.bn_features(self.fc(x))


class Volume3d(nn.Module):
    """BatchNorm3d without gamma and beta, behind a convolution without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 3, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm3d(3, affine=False, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Twice(nn.Module):
    """One batch norm that runs twice, and two that stand between; two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        first = self.bn(self.conv(x))
        return {"first": first, "second": self.bn(self.conv(F.relu(first)))}


class DomainBatchNorm(nn.Module):
    """As in Chang et al. 2019: one of `bns` runs, by the label of the batch's first row; the label goes on."""

    def __init__(self, channels: int, domains: int) -> None:
        super().__init__()
        self.bns = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(domains))

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.bns[label[0]](x), label


class LabelledBlock(nn.Module):
    def __init__(self, channels: int, domains: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = DomainBatchNorm(channels, domains)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, label = self.bn(self.conv(x), label)
        return F.relu(x + y), label


class LabelledNet(nn.Module):
    """DSBN-like, with a batch norm that all domains share."""

    def __init__(self, domains: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bn_shared = nn.BatchNorm2d(8)
        self.block1, self.block2 = LabelledBlock(8, domains), LabelledBlock(8, domains)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.relu(self.bn_shared(self.conv(x)))
        x, label = self.block1(x, label)
        x, label = self.block2(x, label)
        return self.fc(x.mean((2, 3))), label


class ParallelModule(nn.Module):
    """One module for all elements of a list."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.module(x) for x in xs]


class ParallelBatchNorm(nn.Module):
    """As in Wang et al. 2020 (RS-Net): `bn_{i}` for element i of a list."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        for at in range(count):
            setattr(self, f"bn_{at}", nn.BatchNorm2d(channels))

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        return [getattr(self, f"bn_{at}")(x) for at, x in enumerate(xs)]


class ParallelNet(nn.Module):
    """RS-Net-like: a list of resolutions to a list of answers, the last of which is their ensemble."""

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = ParallelModule(nn.Conv2d(3, 8, 3, 2, 1, bias=False)), ParallelBatchNorm(8, count)
        self.conv2, self.bn2 = ParallelModule(nn.Conv2d(8, 8, 3, 1, 1, bias=False)), ParallelBatchNorm(8, count)
        self.relu = ParallelModule(nn.ReLU())
        self.fc = ParallelModule(nn.Linear(8, 4))
        self.alpha = nn.Parameter(torch.zeros(count))

    def forward(self, xs: list[torch.Tensor]) -> list[torch.Tensor]:
        xs = self.relu(self.bn1(self.conv1(xs)))
        xs = self.relu(self.bn2(self.conv2(xs)))
        answers = self.fc([x.mean((2, 3)) for x in xs])
        share = F.softmax(self.alpha, 0)
        return [*answers, sum(share[at] * answers[at] for at in range(len(share)))]


class SwitchableBatchNorm(nn.Module):
    """As in Yu et al. 2019 (slimmable networks): `bn.{i}` by an attribute that is set on every module."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.bn = nn.ModuleList(nn.BatchNorm2d(count) for count in channels)
        self.width = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn[self.width](x)


class SwitchableNet(nn.Module):
    """Slimmable-like, all members of one channel count."""

    def __init__(self, channels: Sequence[int] = (8, 8)) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), SwitchableBatchNorm(channels)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), SwitchableBatchNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))


class LayersInAList(nn.Module):
    """A list of batch norms that all run, one after another: layers, not domains."""

    def __init__(self) -> None:
        super().__init__()
        self.bns = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for bn in self.bns:
            x = F.relu(bn(x))
        return x


def optional(name: str) -> Any:
    """A package that need not be there; the test is passed over where it is not, or does not fit this PyTorch."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as cause:
        pytest.skip(f"{name}: {cause}")
