"""What a recipe leaves behind: one ONNX graph with its batch norms, a bank per domain, goldens, provenance."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
import torch
import torch.nn as nn
from safetensors.torch import save_file

STATISTICS = ("running_mean", "running_var", "weight", "bias")


def export_graph(model: nn.Module, example: torch.Tensor, path: Path, output: str = "logits") -> None:
    """Batch, height and width stay free; batch norms and parameter names stay as in PyTorch."""
    batch, height, width = (torch.export.Dim(name) for name in ("batch", "height", "width"))
    program = torch.onnx.export(
        model.eval(),
        (example,),
        dynamo=True,
        optimize=False,
        external_data=False,
        input_names=["input"],
        output_names=[output],
        dynamic_shapes=({0: batch, 2: height, 3: width},),
        verbose=False,
    )
    onnxscript.optimizer.fold_constants(program.model)
    program.save(str(path), external_data=False)
    _strip_machine_traces(path)
    kept = sum(node.op_type == "BatchNormalization" for node in onnx.load(str(path)).graph.node)
    expected = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if kept != expected:
        raise RuntimeError(f"the exporter kept {kept} of {expected} batch norms")


def _strip_machine_traces(path: Path) -> None:
    """The exporter notes source lines with local paths; only the module path is worth keeping."""
    graph_model = onnx.load(str(path))
    for node in graph_model.graph.node:
        scopes = [entry for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(scopes)
        node.doc_string = ""
    del graph_model.graph.metadata_props[:]
    for info in [*graph_model.graph.input, *graph_model.graph.output, *graph_model.graph.value_info]:
        del info.metadata_props[:]
    for tensor in graph_model.graph.initializer:
        del tensor.metadata_props[:]
    del graph_model.graph.value_info[:]
    onnx.checker.check_model(graph_model)
    onnx.save(graph_model, str(path))


def batch_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {path: module for path, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


def save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """A safetensors file that everybody may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path))
    path.chmod(0o644)


def save_bank(model: nn.Module, path: Path) -> None:
    """The four statistics of every batch norm, under PyTorch's names."""
    bank = {
        f"{layer}.{statistic}": getattr(module, statistic).detach().clone().contiguous()
        for layer, module in batch_norms(model).items()
        for statistic in STATISTICS
    }
    save(bank, path)


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
