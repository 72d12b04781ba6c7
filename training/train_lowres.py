"""Prints what `bankswitch.torch.train_bank` is worth on traffic-signs: domains from few labelled pictures.

    python train_lowres.py --data gtsrb32.npz --repository ..

The network is models/traffic-signs under its `day` bank. Pictures to train on are drawn from the training part and
augmented as in `traffic_signs.py`; accuracies are of the test part. Each seed draws its own pictures.

  1. `lowres` (16 x 16) from `day`, from 512 labelled pictures.
  2. A domain nobody trained on, 18 % exposure with sensor noise (`gtsrb.dark_noise`), from 512 labelled pictures,
     beginning with the existing bank that reads it best.

Epochs and learning rate are those of `train_bank` itself. --validation shows held-out tracks of the training part
instead, to choose others by without a look at the test part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn as nn
from onnx import numpy_helper
from safetensors.torch import load_file

import gtsrb
from bankswitch.torch import Bank, load_bank, train_bank
from nets import SignNet
from traffic_signs import DARK_NOISE, TEST_FOG, VALIDATION_SHARE, accuracy

PICTURES = 512
BATCH = 64
EXPOSURE = 0.18

Degrade = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class Augmented:
    """Batches of a few labelled pictures in random order, every picture moved and degraded anew in every epoch."""

    def __init__(self, part: gtsrb.Split, degrade: Degrade, is_augmented: bool) -> None:
        self.part, self.degrade, self.is_augmented = part, degrade, is_augmented

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        for rows in torch.randperm(len(self.part.labels), generator=generator).split(BATCH):
            images = self.part.images[rows]
            if self.is_augmented:
                images = gtsrb.augment(images, generator)
            yield gtsrb.normalise(self.degrade(images, generator)), self.part.labels[rows]


def network(repository: Path) -> SignNet:
    """The shipped network, whose initializers have the names of its state_dict."""
    graph = onnx.load(str(repository / "models" / "traffic-signs" / "model.onnx")).graph
    state = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    net = SignNet(nn.BatchNorm2d, gtsrb.CLASSES)
    missing, _ = net.load_state_dict(state, strict=False)
    left = [key for key in missing if not key.endswith("num_batches_tracked")]
    if left:
        raise RuntimeError(f"models/traffic-signs/model.onnx lacks {left}")
    return net.eval()


def shipped_bank(repository: Path, domain: str) -> Bank:
    (path,) = (repository / "domains" / "traffic-signs" / domain).glob("*.safetensors")
    return load_file(str(path))


def drawn(part: gtsrb.Split, seed: int) -> gtsrb.Split:
    rows = torch.randperm(len(part.labels), generator=gtsrb.generator_for(PICTURES, seed))[:PICTURES].numpy()
    return gtsrb.Split(part.images[rows], part.labels[rows], part.luma[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--repository", required=True, type=Path)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--validation", action="store_true", help="accuracies of the held-out tracks, to choose by")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training, validation, test = (part.of_domain("day") for part in gtsrb.load(options.data, VALIDATION_SHARE, 0))
    shown = validation if options.validation else test
    net = network(options.repository)
    banks = {domain: shipped_bank(options.repository, domain) for domain in gtsrb.DOMAINS}

    def right(bank: Bank, images: torch.Tensor) -> float:
        load_bank(net, bank)
        return accuracy(net, images, shown.labels)

    kinds: dict[str, tuple[Degrade, int]] = {
        "lowres": (lambda images, generator: gtsrb.degrade("lowres", images, generator), TEST_FOG),
        "dark": (lambda images, generator: gtsrb.dark_noise(images, generator, EXPOSURE), DARK_NOISE),
    }
    for kind, (degrade, stream) in kinds.items():
        pictures = degrade(shown.images, gtsrb.generator_for(0, stream))
        existing = {domain: right(bank, pictures) for domain, bank in banks.items()}
        base = "day" if kind == "lowres" else max(existing, key=lambda domain: existing[domain])
        print(f"\n{kind}, {len(shown.labels):,} pictures, %: {existing}; begun with {base}", flush=True)
        for parameters in ("statistics", "affine", "both"):
            figures, seconds = [], []
            for seed in options.seeds:
                few = drawn(training, seed)
                begin = time.perf_counter()
                bank = train_bank(
                    net, Augmented(few, degrade, True), base=banks[base], parameters=parameters, epochs=options.epochs,
                    learning_rate=options.rate, statistics_loader=Augmented(few, degrade, False), seed=seed,
                )
                seconds.append(time.perf_counter() - begin)
                figures.append(right(bank, pictures))
            print(
                f"{parameters}: {figures}, mean {np.mean(figures):.2f}, from {min(figures)} to {max(figures)}, "
                f"{np.mean(seconds):.0f} s each", flush=True
            )


if __name__ == "__main__":
    main()
