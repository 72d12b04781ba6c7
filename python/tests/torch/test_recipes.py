"""The recipes of training/ would write the models that are shipped: same network, same outputs, same banks."""

from __future__ import annotations

import copy
import hashlib
import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
import torch.nn as nn
from onnx import numpy_helper
from safetensors.torch import load_file

from bankswitch.torch import load_bank
from bankswitch.torch.fingerprint import fingerprint_of

ROOT = Path(__file__).parents[3]

# By model: its class in training/nets.py, what the class takes beside the norm, the output, the default domain first.
SHIPPED = {
    "traffic-signs": ("SignNet", [43], "logits", ["day", "lowlight", "lowres", "fog"]),
    "input-switch": ("SignNet", [43], "logits", ["px32", "px24", "px16", "px12"]),
    "sr-x2": ("SuperResolver", [], "doubled", ["bicubic", "noise", "jpeg", "phone"]),
}


def state_of(graph: onnx.GraphProto) -> dict[str, torch.Tensor]:
    """Initializers of a shipped graph have the names of the state_dict, and there are constants beside them."""
    return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}


@pytest.mark.parametrize("name", SHIPPED)
def test_export_gives_what_is_shipped(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    kind, arguments, output, names = SHIPPED[name]
    shipped = ROOT / "models" / name / "model.onnx"
    graph = onnx.load(str(shipped)).graph
    net: nn.Module = getattr(importlib.import_module("nets"), kind)(nn.BatchNorm2d, *arguments)
    missing, _ = net.load_state_dict(state_of(graph), strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing)
    domains = {domain: copy.deepcopy(net.eval()) for domain in names}
    for domain, module in domains.items():
        (bank,) = (ROOT / "domains" / name / domain).glob("*.safetensors")
        load_bank(module, load_file(str(bank)))

    written = tmp_path / name / "model.onnx"
    written.parent.mkdir()
    banks = importlib.import_module("export").export_model(
        domains, torch.rand(2, 3, 24, 32), written, tmp_path / "work", output
    )

    assert fingerprint_of(onnx.load(str(written)).graph) == fingerprint_of(graph)
    pixels = np.random.default_rng(0).standard_normal((3, 3, 32, 24), np.float32)
    expected, actual = (
        onnxruntime.InferenceSession(str(path)).run([output], {"input": pixels})[0] for path in (shipped, written)
    )
    assert np.abs(actual - expected).max() <= 1e-6
    known = json.loads((shipped.parent / "provenance.json").read_text())["sha256"]
    for domain, path in banks.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == known[f"bank {domain}"]
