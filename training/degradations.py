"""Pictures and their degraded halves, for training and testing super-resolution by two."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

DEGRADATIONS = ("bicubic", "noise", "jpeg", "phone")
NOISE_SIGMA = 15.0
JPEG_QUALITY = 20

Pixels = np.ndarray  # height x width x 3, uint8


@dataclass(frozen=True)
class Pictures:
    sharp: list[Pixels]
    """What the synthetic degradations are made of."""
    phone: list[tuple[Pixels, Pixels]]
    """Pairs of one view: sharp, and through a phone's camera at the same size."""


def load_picture(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def load(root: Path) -> tuple[Pictures, Pictures]:
    """Training and test pictures: BSDS500 and T91 against Set14; City100 for the phone."""

    def pairs(part: str) -> list[tuple[Pixels, Pixels]]:
        folder = root / "city100-phone" / part
        return [
            (load_picture(path), load_picture(path.with_name(path.name.replace("sharp", "phone"))))
            for path in sorted(folder.glob("*-sharp.png"))
        ]

    train = [load_picture(path) for path in sorted((root / "train").iterdir())]
    test = [load_picture(path) for path in sorted((root / "test-set14").iterdir())]
    return Pictures(train, pairs("train")), Pictures([even(picture) for picture in test], pairs("test"))


def even(picture: Pixels) -> Pixels:
    """Cut to even sides."""
    height, width, _ = picture.shape
    return picture[: height // 2 * 2, : width // 2 * 2]


def halve(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture).resize((picture.shape[1] // 2, picture.shape[0] // 2), Image.BICUBIC)


def degrade(degradation: str, picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Half the size, degraded, rounded to 8 bits: what a client would send."""
    small = halve(picture)
    if degradation == "noise":
        noisy = np.asarray(small, dtype=np.float64) + rng.normal(0, NOISE_SIGMA, (small.height, small.width, 3))
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if degradation == "jpeg":
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
    return np.asarray(small)


def draw(
    degradation: str, pictures: Pictures, patch: int, count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random patches as float tensors 0..1: degraded at half of `patch`, and sharp; flipped and turned at random."""
    low, high = [], []
    for _ in range(count):
        if degradation == "phone":
            sharp, phone = pictures.phone[rng.integers(len(pictures.phone))]
            top, left = rng.integers(0, sharp.shape[0] - patch + 1), rng.integers(0, sharp.shape[1] - patch + 1)
            cut = np.s_[top : top + patch, left : left + patch]
            small, large = np.asarray(halve(phone[cut])), sharp[cut]
        else:
            picture = pictures.sharp[rng.integers(len(pictures.sharp))]
            top, left = rng.integers(0, picture.shape[0] - patch + 1), rng.integers(0, picture.shape[1] - patch + 1)
            large = picture[top : top + patch, left : left + patch]
            small = degrade(degradation, large, rng)
        turns, flip = rng.integers(4), rng.integers(2)
        low.append(oriented(small, turns, flip))
        high.append(oriented(large, turns, flip))
    return to_tensor(low), to_tensor(high)


def oriented(picture: Pixels, turns: int, flip: int) -> Pixels:
    turned = np.rot90(picture, turns)
    return turned[:, ::-1] if flip else turned


def test_pairs(degradation: str, pictures: Pictures, seed: int) -> list[tuple[Pixels, Pixels]]:
    """Degraded and sharp test pictures; the noise depends on `seed` only."""
    if degradation == "phone":
        return [(np.asarray(halve(phone)), sharp) for sharp, phone in pictures.phone]
    rng = np.random.default_rng(seed)
    return [(degrade(degradation, picture, rng), picture) for picture in pictures.sharp]


def to_tensor(pictures: list[Pixels]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures))).permute(0, 3, 1, 2).float() / 255


def psnr(result: np.ndarray, sharp: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all three channels, of 8-bit pictures."""
    error = np.mean((result.astype(np.float64) - sharp.astype(np.float64)) ** 2)
    return float(10 * np.log10(255.0**2 / error))
