"""What a recipe leaves behind: a graph with its batch norms, a bank per domain, goldens, provenance."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file

import bankswitch.torch


def export_model(
    domains: Mapping[str, nn.Module], example: torch.Tensor, graph: Path, work: Path, output: str = "logits"
) -> dict[str, Path]:
    """Writes `graph` with the statistics of the first domain, once ONNX Runtime answers as each domain does, and the bank
    of each to `work`/banks; returns these. Batch, height and width stay free.

    `work` gets the rest of what the package writes, too: manifests of the repository are written by hand.
    """
    made = bankswitch.torch.export(
        next(iter(domains.values())),
        example,
        work / "models" / graph.parent.name,
        domains=domains,
        free=("batch", "height", "width"),
        output_names=[output],
        overwrite=True,
    )
    shutil.copyfile(made.folder / "model.onnx", graph)
    banks = {domain: work / "banks" / f"{domain}.safetensors" for domain in domains}
    for domain, path in banks.items():
        (written,) = (made.domains_folder / made.folder.name / domain).glob("*.safetensors")
        # Without what the store notes in it, the same statistics are the same bytes.
        bankswitch.torch.save_bank(load_file(str(written)), path)
    return banks


def batch_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {path: module for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """A safetensors file that everybody may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path))
    path.chmod(0o644)


@torch.no_grad()
def batch_norm_inputs(model: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Per layer the population mean and variance of what it normalises, in float64."""
    seen: dict[str, torch.Tensor] = {}

    def watch(layer: str):
        def hook(_module: nn.Module, arguments: tuple[torch.Tensor]) -> None:
            values = arguments[0].double()
            seen[f"{layer}.mean"] = values.mean((0, 2, 3))
            seen[f"{layer}.variance"] = values.var((0, 2, 3), unbiased=False)

        return hook

    handles = [module.register_forward_pre_hook(watch(layer)) for layer, module in batch_norms(model).items()]
    model(inputs)
    for handle in handles:
        handle.remove()
    return seen


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_provenance(path: Path, recipe: str, seed: int, figures: dict, files: dict[str, Path]) -> None:
    """What was made by which recipe, and with which figures."""
    provenance = {
        "recipe": recipe,
        "seed": seed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "figures": figures,
        "sha256": {name: digest(file) for name, file in files.items()},
    }
    path.write_text(json.dumps(provenance, indent=2) + "\n")
