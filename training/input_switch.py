"""Trains and exports models/input-switch: one classifier for pictures of 32, 24, 16 and 12 pixels.

    python input_switch.py --data gtsrb32.npz --repository .. --work /tmp/input-switch

takes some 40 minutes on 2 cores, because it trains what it is compared with too: the same net with one shared batch
norm, and one separate net per resolution, all on the same number of pictures of each size. Private batch norm per
resolution is the idea of RS-Net (Wang et al., ECCV 2020).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

import gtsrb
from export import export_model, save, save_provenance
from fit import fit
from nets import BankedBatchNorm2d, SignNet, plain_state, select
from traffic_signs import BATCH, PEAK_RATE, VALIDATION_SHARE, WEIGHT_DECAY, accuracy

SIZES = {"px32": 32, "px24": 24, "px16": 16, "px12": 12}
RESOLUTIONS = tuple(SIZES)
GOLDEN_ROWS = 4
SAMPLES_PER_SIZE = 2
BATCHES = 1
LABELS = Path(__file__).resolve().parent.parent / "models" / "traffic-signs" / "labels.json"


def at_size(resolution: str, images: torch.Tensor) -> torch.Tensor:
    size = SIZES[resolution]
    return images if size == images.shape[-1] else F.interpolate(images, size=size, mode="area")


def train(model: nn.Module, resolutions: tuple[str, ...], part: gtsrb.Split, epochs: int, seed: int) -> nn.Module:
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True
    )

    def loss_of(resolution: str, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(part.labels), (BATCH,), generator=generator)
        images = at_size(resolution, gtsrb.augment(part.images[rows], generator))
        return F.cross_entropy(model(gtsrb.normalise(images)), part.labels[rows])

    steps = epochs * (len(part.labels) // BATCH)
    fit(model, resolutions, loss_of, optimizer, PEAK_RATE, steps, gtsrb.generator_for(seed, BATCHES))
    return model


def cached(path: Path, make) -> nn.Module:
    """A trained net from an earlier run of this recipe, or a fresh one."""
    model, training = make()
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    torch.manual_seed(0)
    training(model)
    torch.save(model.state_dict(), path)
    return model.eval()


def evaluate(model: nn.Module, part: gtsrb.Split, resolutions: tuple[str, ...] = RESOLUTIONS) -> dict[str, float]:
    """Accuracy in % of each resolution under its own bank."""
    result: dict[str, float] = {}
    for resolution in resolutions:
        select(model, resolution)
        result[resolution] = accuracy(model, at_size(resolution, part.images), part.labels)
    return result


def crossed(model: nn.Module, part: gtsrb.Split) -> dict[str, dict[str, float]]:
    """Accuracy in %, rows: size of the pictures, columns: bank."""
    result: dict[str, dict[str, float]] = {}
    for resolution in RESOLUTIONS:
        result[resolution] = {}
        for bank in RESOLUTIONS:
            select(model, bank)
            result[resolution][bank] = accuracy(model, at_size(resolution, part.images), part.labels)
    return result


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    print(title)
    print("| | " + " | ".join(RESOLUTIONS) + " |")
    print("|---" * (len(RESOLUTIONS) + 1) + "|")
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(f"{row[resolution]:.2f}" for resolution in RESOLUTIONS) + " |", flush=True)


@torch.no_grad()
def save_samples(private: nn.Module, test: gtsrb.Split, folder: Path) -> None:
    """A few test pictures as PNG, of different classes, that their own bank reads right and another reads wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    names = json.loads((folder.parent / "labels.json").read_text())
    for resolution in RESOLUTIONS:
        images = at_size(resolution, test.images).round().clamp(0, 255)
        other = "px32" if resolution != "px32" else "px12"

        def reads(bank: str) -> torch.Tensor:
            select(private, bank)
            chunks = [private(gtsrb.normalise(chunk)).argmax(1) for chunk in images.split(500)]
            return torch.cat(chunks).eq(test.labels)

        rows = torch.nonzero(reads(resolution) & ~reads(other)).flatten()
        labels = test.labels[rows].unique()
        for label in labels[torch.linspace(0, len(labels) - 1, SAMPLES_PER_SIZE + 2).long()[1:-1]].tolist():
            row = int(rows[test.labels[rows] == label][0])
            pixels = images[row].permute(1, 2, 0).to(torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / f"{resolution}-{names[label].replace(' ', '-')}.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--repository", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path, help="folder for checkpoints and banks")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    training, validation, test = gtsrb.load(options.data, VALIDATION_SHARE, options.seed)

    def recipe(norm, resolutions: tuple[str, ...]):
        def make():
            torch.manual_seed(options.seed)
            model = SignNet(norm, gtsrb.CLASSES)
            return model, lambda net: train(net, resolutions, training, options.epochs, options.seed)

        return make

    private = cached(options.work / "private.pt", recipe(lambda c: BankedBatchNorm2d(c, RESOLUTIONS), RESOLUTIONS))
    shared = cached(options.work / "shared.pt", recipe(nn.BatchNorm2d, RESOLUTIONS))
    separate = {
        resolution: cached(options.work / f"{resolution}.pt", recipe(nn.BatchNorm2d, (resolution,)))
        for resolution in RESOLUTIONS
    }
    figures = {}
    for name, part in (("validation", validation), ("test", test)):
        figures[name] = {
            "private banks": evaluate(private, part),
            "one shared bank": evaluate(shared, part),
            "separate nets": {
                resolution: evaluate(net, part, (resolution,))[resolution] for resolution, net in separate.items()
            },
        }
        show(f"{name}, %", figures[name])
    figures["crossed"] = crossed(private, test)
    show("test, %, rows: pictures, columns: bank", figures["crossed"])

    folder = options.repository / "models" / "input-switch"
    folder.mkdir(parents=True, exist_ok=True)

    def plain(resolution: str) -> SignNet:
        net = SignNet(nn.BatchNorm2d, gtsrb.CLASSES)
        net.load_state_dict(plain_state(private, resolution))
        return net.eval()

    graph = folder / "model.onnx"
    nets = {resolution: plain(resolution) for resolution in RESOLUTIONS}
    banks = export_model(nets, torch.randn(2, 3, 32, 32), graph, options.work)
    golden: dict[str, torch.Tensor] = {}
    for resolution, net in nets.items():
        rows = torch.linspace(0, len(test.labels) - 1, GOLDEN_ROWS).long()
        inputs = gtsrb.normalise(at_size(resolution, test.images[rows])).contiguous()
        with torch.no_grad():
            golden[f"{resolution}.inputs"], golden[f"{resolution}.logits"] = inputs, net(inputs)
    (folder / "labels.json").write_bytes(LABELS.read_bytes())
    save_samples(private, test, folder / "samples")
    golden_path = options.repository / "test" / "golden" / "input-switch.safetensors"
    save(golden, golden_path)
    save_provenance(
        folder / "provenance.json", "training/input_switch.py", options.seed, figures,
        {"model.onnx": graph, "golden": golden_path, **{f"bank {name}": path for name, path in banks.items()}},
    )


if __name__ == "__main__":
    main()
