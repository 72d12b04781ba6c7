"""Trains and exports models/sr-x2: super-resolution by two with a bank per degradation.

    python sr_x2.py --data sr --repository .. --work /tmp/sr-x2

takes some 50 minutes on 2 cores, because it trains what it is compared with too: the same net with one shared batch norm,
and one net without batch norm per degradation. Those are compared with a net of private banks that was trained as
briefly as they were; the one that is shipped trains longer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

import degradations
from degradations import DEGRADATIONS, Pictures, psnr, test_pairs, to_tensor
from export import export_model, save, save_provenance
from fit import fit
from gtsrb import generator_for
from nets import BankedBatchNorm2d, SuperResolver, plain_state, select

BATCH = 16
PATCH = 64
PEAK_RATE = 2e-3
NOISE_SEED = 7
GOLDEN_SIDE = 40
BICUBIC = "bicubic upsampling"


class NoNorm(nn.Module):
    """Stands in for a batch norm where there is none; the convolution before it has no bias, so this has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bias[:, None, None]


def train(model: nn.Module, kinds: tuple[str, ...], pictures: Pictures, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), PEAK_RATE)

    def loss_of(kind: str, _generator: torch.Generator) -> torch.Tensor:
        low, high = degradations.draw(kind, pictures, PATCH, BATCH, rng)
        return F.l1_loss(model(low.contiguous(memory_format=torch.channels_last)), high)

    fit(model, kinds, loss_of, optimizer, PEAK_RATE, steps, generator_for(seed))


@torch.no_grad()
def doubled(model: nn.Module, picture: np.ndarray) -> np.ndarray:
    """The net's answer, rounded to 8 bits as the service rounds it."""
    result = model(to_tensor([picture])).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return np.rint(result * 255).astype(np.uint8)


def upsampled(picture: np.ndarray) -> np.ndarray:
    result = F.interpolate(to_tensor([picture]), scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)
    return np.rint(result[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def mean_psnr(pairs: list[tuple[np.ndarray, np.ndarray]], answer) -> float:
    return round(float(np.mean([psnr(answer(low), high) for low, high in pairs])), 2)


def show(title: str, columns: list[str], table: dict[str, dict[str, float]]) -> None:
    print(title)
    print("| pictures | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row, cells in table.items():
        print(f"| {row} | " + " | ".join(f"{cells[column]:.2f}" for column in columns) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with train, test-set14 and city100-phone")
    parser.add_argument("--repository", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="folder for checkpoints and banks")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--comparison-steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    training, test = degradations.load(options.data)

    def obtained(name: str, norm, kinds: tuple[str, ...], steps: int = options.comparison_steps) -> SuperResolver:
        torch.manual_seed(options.seed)
        model = SuperResolver(norm)
        path = options.work / f"{name}.pt"
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            print(name, flush=True)
            train(model, kinds, training, steps, options.seed)
            torch.save(model.state_dict(), path)
        return model.eval()

    def banked(channels: int) -> nn.Module:
        return BankedBatchNorm2d(channels, DEGRADATIONS)

    private = obtained("private", banked, DEGRADATIONS, options.steps)
    tests = {kind: test_pairs(kind, test, NOISE_SEED) for kind in DEGRADATIONS}
    crossed: dict[str, dict[str, float]] = {}
    for kind, pairs in tests.items():
        crossed[kind] = {BICUBIC: mean_psnr(pairs, upsampled)}
        for bank in DEGRADATIONS:
            select(private, bank)
            crossed[kind][bank] = mean_psnr(pairs, lambda low: doubled(private, low))
    show("PSNR in dB, rows: degradation, columns: bank", [BICUBIC, *DEGRADATIONS], crossed)

    brief = obtained("brief", banked, DEGRADATIONS)
    shared = obtained("shared", nn.BatchNorm2d, DEGRADATIONS)
    compared: dict[str, dict[str, float]] = {}
    for kind, pairs in tests.items():
        select(brief, kind)
        compared[kind] = {
            "private banks": mean_psnr(pairs, lambda low: doubled(brief, low)),
            "one shared bank": mean_psnr(pairs, lambda low: doubled(shared, low)),
        }
        separate = obtained(f"no-norm-{kind}", NoNorm, (kind,))
        compared[kind]["net of its own, no batch norm"] = mean_psnr(pairs, lambda low: doubled(separate, low))
    show(f"PSNR in dB of the same net, each after {options.comparison_steps} steps", list(next(iter(compared.values()))), compared)
    export(private, test, {"crossed": crossed, "compared": compared}, options)


def export(private: SuperResolver, test: Pictures, figures: dict, options: argparse.Namespace) -> None:
    folder = options.repository / "models" / "sr-x2"
    folder.mkdir(parents=True, exist_ok=True)

    def plain(kind: str) -> SuperResolver:
        net = SuperResolver(nn.BatchNorm2d)
        net.load_state_dict(plain_state(private, kind))
        return net.eval()

    graph = folder / "model.onnx"
    nets = {kind: plain(kind) for kind in DEGRADATIONS}
    banks = export_model(nets, torch.rand(2, 3, 24, 32), graph, options.work, output="doubled")
    golden: dict[str, torch.Tensor] = {}
    samples = folder / "samples"
    samples.mkdir(exist_ok=True)
    for kind, net in nets.items():
        low, _ = test_pairs(kind, test, NOISE_SEED)[2]
        inputs = to_tensor([low[:GOLDEN_SIDE, :GOLDEN_SIDE]]).contiguous()
        with torch.no_grad():
            golden[f"{kind}.inputs"], golden[f"{kind}.outputs"] = inputs, net(inputs)
        Image.fromarray(low[: 2 * GOLDEN_SIDE, : 2 * GOLDEN_SIDE]).save(samples / f"{kind}.png", optimize=True)
    golden_path = options.repository / "test" / "golden" / "sr-x2.safetensors"
    save(golden, golden_path)
    save_provenance(
        folder / "provenance.json", "training/sr_x2.py", options.seed, figures,
        {"model.onnx": graph, "golden": golden_path, **{f"bank {kind}": path for kind, path in banks.items()}},
    )


if __name__ == "__main__":
    main()
