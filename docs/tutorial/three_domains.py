"""Domains of a network that torchvision has trained, from folders of pictures: the code of docs/tutorial.md.

    python docs/tutorial/three_domains.py export my
    python docs/tutorial/three_domains.py calibrate pictures/plain pictures/dark pictures/blurred

The second asks a server of what the first has written, which tells how to start one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load

from bankswitch import Client
from bankswitch.torch import export, load_bank

MODEL = "scenes"
WEIGHTS = torchvision.models.ResNet18_Weights.DEFAULT

SHOWN_OF_EACH = 4
"""Pictures of each folder that all domains are asked about."""

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}

TOLERANCE = 1e-4


def network(weights: Path | None) -> torch.nn.Module:
    """torchvision's resnet18 with the state_dict in a file, or else the one that torchvision has trained."""
    state = WEIGHTS.get_state_dict(check_hash=True) if weights is None else torch.load(weights, weights_only=True)
    net = torchvision.models.resnet18()
    net.load_state_dict(state)
    return net.eval()


def export_network(folder: Path, net: torch.nn.Module, side: int) -> None:
    """Writes `folder`/models/scenes and `folder`/domains/scenes, whose only domain is the network as it is."""
    rules = WEIGHTS.transforms()
    made = export(
        net,
        torch.randn(2, 3, side, side),
        folder / "models" / MODEL,
        labels=WEIGHTS.meta["categories"],
        preprocessing={"mean": rules.mean, "std": rules.std},
    )
    print(f"{len(made.layers)} batch norms; ONNX Runtime is {made.errors['default']:.1e} from PyTorch. To serve it:")
    print(made.command())


@dataclass(frozen=True)
class Calibrated:
    """A domain and how it answers; outputs are compared by their largest difference, relative to the largest output."""

    domain: str
    pictures: int
    is_settled: bool
    distance: float
    """Of its bank from that of `default`: the Bhattacharyya distance, mean over layers."""
    nearest: float
    """Of its outputs from those of the domain that answers most alike."""
    changed: str
    """How many of the pictures shown have another best class than under `default`."""
    error: float
    """Of its outputs from those of the PyTorch network with its bank."""


def calibrated(client: Client, net: torch.nn.Module, folders: Sequence[Path], side: int) -> list[Calibrated]:
    """Makes a domain of each folder, named as the folder is, and asks all of them about pictures of every folder."""
    made = {}
    for folder in folders:
        made[folder.name] = client.calibrate(MODEL, folder.name, folder)
        print(f"{folder.name}: {made[folder.name].report['verdict']['text']}", flush=True)
    shown = [path for folder in folders for path in pictures_in(folder)[:SHOWN_OF_EACH]]
    prepare = WEIGHTS.transforms(crop_size=side, resize_size=side)
    inputs = torch.stack([prepare(Image.open(path).convert("RGB")) for path in shown])
    names = ["default", *made]
    outputs = {name: client.infer(MODEL, {"input": inputs.numpy()}, domain=name)["output"] for name in names}
    best = {name: [client.predict(MODEL, path, domain=name).best.index for path in shown] for name in names}
    rows = []
    for name, calibration in made.items():
        load_bank(net, load(client.download(MODEL, name)))
        with torch.no_grad():
            expected = net(inputs).numpy()
        layers = client.diff(f"{MODEL}/default", f"{MODEL}/{name}")
        changed = sum(here != usual for here, usual in zip(best[name], best["default"], strict=True))
        rows.append(
            Calibrated(
                name,
                calibration.images["used"],
                calibration.is_settled,
                float(np.mean([layer.distance for layer in layers])),
                min(apart(outputs[name], outputs[other]) for other in names if other != name),
                f"{changed} of {len(shown)}",
                apart(outputs[name], expected),
            )
        )
    return rows


def pictures_in(folder: Path) -> list[Path]:
    """By name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS)


def apart(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value expected."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def show(rows: Sequence[Calibrated]) -> None:
    """A table."""
    columns = [
        "domain",
        "pictures",
        "enough",
        "bank from `default`",
        "outputs from the nearest domain",
        "other best class",
        "from PyTorch",
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for row in rows:
        print(
            f"| `{row.domain}` | {row.pictures} | {'yes' if row.is_settled else 'no'} | {row.distance:.3f} | "
            f"{row.nearest:.3f} | {row.changed} | {row.error:.1e} |"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends with a message when a domain does not answer as PyTorch does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    exporting = commands.add_parser("export", help="the network as a model folder")
    exporting.add_argument("folder", type=Path, help="where models/ and domains/ are written")
    calibrating = commands.add_parser("calibrate", help="a domain of each folder of pictures")
    calibrating.add_argument("folders", type=Path, nargs="+", help="folders of pictures, named as the domains")
    calibrating.add_argument("--url", default="http://127.0.0.1:8080")
    calibrating.add_argument("--key-file", type=Path, default=Path(".bankswitch/admin.key"))
    for command in (exporting, calibrating):
        command.add_argument("--weights", type=Path, help="a state_dict on disk instead of torchvision's download")
        command.add_argument("--side", type=int, default=224, help="height and width of what the network sees")
    options = parser.parse_args(arguments)
    names = [folder.resolve().name for folder in options.folders] if options.command == "calibrate" else []
    if len({"default", *names}) <= len(names):
        parser.error('folders must have different names, none of them "default": their domains are named so')
    net = network(options.weights)
    if options.command == "export":
        export_network(options.folder, net, options.side)
        return
    with Client(options.url, key=options.key_file.read_text()) as client:
        rows = calibrated(client, net, [folder.resolve() for folder in options.folders], options.side)
    show(rows)
    for row in rows:
        if not row.error <= TOLERANCE:
            raise SystemExit(f'domain "{row.domain}" is {row.error:.2g} from PyTorch, expected at most {TOLERANCE}')


if __name__ == "__main__":
    main()
