"""German traffic signs as four input domains.

A domain is a way the same signs reach the camera. `day` and `lowlight` are real: they are told apart by the mean
luma of a track (0-255). `lowres` and `fog` are made from the day pictures, by area averaging and by the usual
airlight mixture. Frames of one track are near-identical, so validation is held out by whole tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

DOMAINS = ("day", "lowlight", "lowres", "fog")
INPUT_SIZE = {"day": 32, "lowlight": 32, "lowres": 16, "fog": 32}
CLASSES = 43
DAY_LUMA_MIN = 80.0
LOWLIGHT_LUMA_MAX = 50.0
MEAN, STD = 0.5, 0.25


@dataclass(frozen=True)
class Split:
    """Pictures as float32 N x 3 x 32 x 32 in 0-255, their classes, and the mean luma of their tracks."""

    images: torch.Tensor
    labels: torch.Tensor
    luma: np.ndarray

    def where(self, mask: np.ndarray) -> "Split":
        index = np.flatnonzero(mask)
        return Split(self.images[index], self.labels[index], self.luma[index])

    def of_domain(self, domain: str) -> "Split":
        """The pictures a domain is made of; not yet degraded."""
        return self.where(self.luma < LOWLIGHT_LUMA_MAX if domain == "lowlight" else self.luma > DAY_LUMA_MIN)


def _split(images: np.ndarray, labels: np.ndarray, luma: np.ndarray) -> Split:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous()
    return Split(pixels, torch.from_numpy(labels.astype(np.int64)), luma)


def load(path: str, validation_share: float, seed: int) -> tuple[Split, Split, Split]:
    """Train, validation and test. Validation takes whole tracks, the same share of every class."""
    archive = np.load(path)
    labels, tracks = archive["train_y"], archive["train_track"]
    rng = np.random.default_rng(seed)
    held_out: list[int] = []
    for label in range(CLASSES):
        of_class = np.unique(tracks[labels == label])
        held_out.extend(rng.permutation(of_class)[: max(1, round(validation_share * len(of_class)))])
    is_validation = np.isin(tracks, held_out)
    everything = _split(archive["train_x"], labels, archive["train_track_luma"])
    test = _split(archive["test_x"], archive["test_y"], archive["test_luma"])
    return everything.where(~is_validation), everything.where(is_validation), test


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def degrade(domain: str, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Carries clean pictures (0-255) into a domain. `generator` decides the fog of each picture."""
    if domain == "lowres":
        return F.interpolate(images, size=INPUT_SIZE["lowres"], mode="area")
    if domain == "fog":
        transmission = _uniform(len(images), 0.25, 0.6, generator)
        airlight = _uniform(len(images), 200.0, 220.0, generator)
        return images * transmission + (1 - transmission) * airlight
    return images


def dark_noise(images: torch.Tensor, generator: torch.Generator, exposure: float = 0.18) -> torch.Tensor:
    """The domain nobody trained on: under-exposed, with sensor noise of sigma 6."""
    noise = torch.randn(images.shape, generator=generator)
    return (images * exposure + noise * 6.0).clamp(0, 255)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random rotation, scale, shift and brightness, one draw per picture."""
    count = len(images)
    angle = _uniform(count, -0.175, 0.175, generator).flatten()
    scale = _uniform(count, 0.85, 1.15, generator).flatten()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(angle) * scale
    theta[:, 0, 1] = -torch.sin(angle)
    theta[:, 1, 0] = torch.sin(angle)
    theta[:, :, 2] = 0.3 * (torch.rand(count, 2, generator=generator) - 0.5)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved * _uniform(count, 0.8, 1.2, generator)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """0-255 to the network's input; the manifest carries the same two numbers."""
    return (images / 255.0 - MEAN) / STD


def generator_for(*parts: int) -> torch.Generator:
    """A generator whose draws depend on `parts` only, so that each use of randomness can be repeated alone."""
    generator = torch.Generator()
    generator.manual_seed(math.prod(part + 1_000_003 for part in parts) % (2**63))
    return generator
