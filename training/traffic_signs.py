"""Trains and exports models/traffic-signs.

    python traffic_signs.py --data gtsrb32.npz --repository .. --work /tmp/signs

takes some 12 minutes on 2 cores. One trunk, private batch norm per domain; every step sees a batch of each domain and
the gradients add up. The number of epochs is fixed; validation is only reported, and the test part is looked at once.
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
from export import batch_norm_inputs, export_model, save, save_provenance
from fit import fit
from nets import BankedBatchNorm2d, SignNet, plain_state, select

BATCH = 64
PEAK_RATE = 0.2
WEIGHT_DECAY = 5e-4
VALIDATION_SHARE = 0.1
GOLDEN_ROWS = 8
SAMPLES_PER_DOMAIN = 2

# Streams of randomness, one number each.
BATCHES, VALIDATION_FOG, TEST_FOG, DARK_NOISE = 1, 2, 3, 4


def train(model: nn.Module, parts: dict[str, gtsrb.Split], epochs: int, seed: int) -> None:
    optimizer = torch.optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True
    )

    def loss_of(domain: str, generator: torch.Generator) -> torch.Tensor:
        part = parts[domain]
        rows = torch.randint(len(part.labels), (BATCH,), generator=generator)
        images = gtsrb.degrade(domain, gtsrb.augment(part.images[rows], generator), generator)
        return F.cross_entropy(model(gtsrb.normalise(images)), part.labels[rows])

    steps = epochs * (len(parts["day"].labels) // BATCH)
    fit(model, gtsrb.DOMAINS, loss_of, optimizer, PEAK_RATE, steps, gtsrb.generator_for(seed, BATCHES))


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    predicted = torch.cat([model(gtsrb.normalise(chunk)).argmax(1) for chunk in images.split(500)])
    return round(100 * predicted.eq(labels).double().mean().item(), 2)


def matrix(model: nn.Module, part: gtsrb.Split, seed: int, stream: int) -> dict[str, dict[str, float]]:
    """Accuracy in %, rows: domain of the pictures, columns: bank."""
    result: dict[str, dict[str, float]] = {}
    for domain in gtsrb.DOMAINS:
        pictures = part.of_domain(domain)
        images = gtsrb.degrade(domain, pictures.images, gtsrb.generator_for(seed, stream))
        result[domain] = {}
        for bank in gtsrb.DOMAINS:
            select(model, bank)
            result[domain][bank] = accuracy(model, images, pictures.labels)
    return result


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    print(title)
    print("| pictures | " + " | ".join(f"bank {bank}" for bank in gtsrb.DOMAINS) + " |")
    print("|---" * (len(gtsrb.DOMAINS) + 1) + "|")
    for domain, row in table.items():
        print(f"| {domain} | " + " | ".join(f"{row[bank]:.2f}" for bank in gtsrb.DOMAINS) + " |", flush=True)


def plain(model: nn.Module, domain: str) -> SignNet:
    """The ordinary net that this trunk is under one bank."""
    net = SignNet(nn.BatchNorm2d, gtsrb.CLASSES)
    net.load_state_dict(plain_state(model, domain))
    return net.eval()


def save_goldens(model: nn.Module, test: gtsrb.Split, path: Path, seed: int) -> None:
    """Inputs, logits and batch-norm input statistics per domain, for the tests of the service."""
    golden: dict[str, torch.Tensor] = {}
    for domain in gtsrb.DOMAINS:
        part = test.of_domain(domain)
        rows = torch.linspace(0, len(part.labels) - 1, GOLDEN_ROWS).long()
        images = gtsrb.degrade(domain, part.images[rows], gtsrb.generator_for(seed, TEST_FOG))
        inputs = gtsrb.normalise(images).contiguous()
        net = plain(model, domain)
        with torch.no_grad():
            golden[f"{domain}.inputs"], golden[f"{domain}.logits"] = inputs, net(inputs)
        for name, value in batch_norm_inputs(net, inputs).items():
            golden[f"{domain}.layers.{name}"] = value
    save(golden, path)


def save_samples(model: nn.Module, test: gtsrb.Split, folder: Path, seed: int) -> None:
    """A few test pictures as PNG, of different classes, that their own bank reads right and another reads wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    names = json.loads((folder.parent / "labels.json").read_text())
    for domain in gtsrb.DOMAINS:
        part = test.of_domain(domain)
        images = gtsrb.degrade(domain, part.images, gtsrb.generator_for(seed, TEST_FOG)).round().clamp(0, 255)
        other = "day" if domain != "day" else "lowres"
        with torch.no_grad():
            right = plain(model, domain)(gtsrb.normalise(images)).argmax(1).eq(part.labels)
            wrong = plain(model, other)(gtsrb.normalise(images)).argmax(1).ne(part.labels)
        rows = torch.nonzero(right & wrong).flatten()
        labels = part.labels[rows].unique()
        chosen = labels[torch.linspace(0, len(labels) - 1, SAMPLES_PER_DOMAIN + 2).long()[1:-1]].tolist()
        for label in chosen:
            row = int(rows[part.labels[rows] == label][0])
            pixels = images[row].permute(1, 2, 0).to(torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / f"{domain}-{names[label].replace(' ', '-')}.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--repository", required=True, type=Path, help="where models/ and test/ lie")
    parser.add_argument("--work", required=True, type=Path, help="folder for the checkpoint and the banks")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reuse", action="store_true", help="export the checkpoint of an earlier run")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    options.work.mkdir(parents=True, exist_ok=True)
    checkpoint = options.work / "traffic-signs.pt"
    training, validation, test = gtsrb.load(options.data, VALIDATION_SHARE, options.seed)
    model = SignNet(lambda channels: BankedBatchNorm2d(channels, gtsrb.DOMAINS), gtsrb.CLASSES)
    if options.reuse:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
    else:
        train(model, {domain: training.of_domain(domain) for domain in gtsrb.DOMAINS}, options.epochs, options.seed)
        torch.save(model.state_dict(), checkpoint)
    figures = {
        "validation": matrix(model, validation, options.seed, VALIDATION_FOG),
        "test": matrix(model, test, options.seed, TEST_FOG),
    }
    show("validation, %", figures["validation"])
    show("test, %", figures["test"])

    folder = options.repository / "models" / "traffic-signs"
    folder.mkdir(parents=True, exist_ok=True)
    graph = folder / "model.onnx"
    size = gtsrb.INPUT_SIZE["day"]
    nets = {domain: plain(model, domain) for domain in gtsrb.DOMAINS}
    banks = export_model(nets, torch.randn(2, 3, size, size), graph, options.work)
    golden = options.repository / "test" / "golden" / "traffic-signs.safetensors"
    save_goldens(model, test, golden, options.seed)
    save_samples(model, test, folder / "samples", options.seed)
    save_provenance(
        folder / "provenance.json", "training/traffic_signs.py", options.seed, figures,
        {"model.onnx": graph, "golden": golden, **{f"bank {domain}": path for domain, path in banks.items()}},
    )


if __name__ == "__main__":
    main()
