"""export: the folders that it writes, each kind of batch norm, and its proof."""

# PyTorch is typed in part.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type, assignment, call-overload, import-untyped"

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file

from bankswitch.torch import ModelRefused, ProofFailed, export
from small_nets import Classifier, Sequence1d, Twice, Volume3d, optional, randomised, with_statistics_of

MEAN_STD = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
LABELS = ["a", "b", "c", "d", "e"]
PICTURE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def run(folder: Path, bank: dict[str, torch.Tensor], *inputs: torch.Tensor) -> list[Any]:
    """The graph under a bank of its domains folder, in ONNX Runtime."""
    proto = onnx.load(str(folder / "model.onnx"))
    for tensor in proto.graph.initializer:
        if tensor.name in bank:
            tensor.CopyFrom(onnx.numpy_helper.from_array(bank[tensor.name].numpy(), tensor.name))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(
        None, dict(zip([value.name for value in session.get_inputs()], map(np.asarray, inputs), strict=True))
    )


def bank_file(folder: Path) -> Path:
    return next(folder.glob("000001-*.safetensors"))


def test_a_bank_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    model = randomised(Classifier())
    files = []
    for time in range(6):
        made = export(model, PICTURE, tmp_path / str(time) / "models" / "signs", domains={"day": model})
        files.append(bank_file(made.folder.parents[1] / "domains" / "signs" / "day"))
    assert len({file.name for file in files}) == 1
    assert load_file(files[0]).keys() == {
        key for key in model.state_dict() if ".num_batches" not in key and "bn" in key
    }


def test_a_classifier_with_two_domains(tmp_path: Path) -> None:
    day = randomised(Classifier())
    night = with_statistics_of(day, 5)
    made = export(
        day,
        PICTURE,
        tmp_path / "models" / "signs",
        labels=LABELS,
        preprocessing=MEAN_STD,
        domains={"day": day.state_dict(), "night": night},
        descriptions={"night": "Dunkel"},
        licence="MIT",
        free=("batch", "height", "width"),
    )
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest == {
        "format": 1,
        "name": "signs",
        "title": "signs",
        "licence": "MIT",
        "graph": "model.onnx",
        "task": "classification",
        "input": {
            "name": "input",
            "colour": "rgb",
            "layout": "NCHW",
            "size": {"height": 16, "width": 16},
            "resize": {"fit": "cover", "kernel": "bilinear"},
            **MEAN_STD,
        },
        "output": {"name": "output", "activation": "softmax"},
        "labels": "labels.json",
        "defaultDomain": "day",
        "domains": {"day": {}, "night": {"description": "Dunkel"}},
    }
    assert json.loads((made.folder / "labels.json").read_text()) == LABELS
    assert made.layers == ("bn1", "bn_left", "bn_right")
    assert set(made.errors) == {"day", "night"} and max(made.errors.values()) < 1e-5
    assert made.domains_folder == tmp_path / "domains"
    other = torch.randn(3, 3, 21, 34)
    for name, module in (("day", day), ("night", night)):
        bank = load_file(str(bank_file(tmp_path / "domains" / "signs" / name)))
        np.testing.assert_allclose(run(made.folder, bank, other)[0], module(other).detach(), atol=1e-5)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name.startswith(".")) == []


def test_the_graph_is_clean(tmp_path: Path) -> None:
    made = export(randomised(Classifier()), PICTURE, tmp_path / "models" / "signs")
    text = (made.folder / "model.onnx").read_bytes()
    graph = onnx.load(str(made.folder / "model.onnx")).graph
    assert {node.op_type for node in graph.node} <= {"Conv", "BatchNormalization", "Relu", "Add", "ReduceMean", "Gemm"}
    assert str(Path(__file__).parent).encode() not in text
    names = {tensor.name for tensor in graph.initializer}
    assert {"bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "conv1.weight"} <= names
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_fresh_statistics_are_not_merged(tmp_path: Path) -> None:
    made = export(Classifier().eval(), PICTURE, tmp_path / "models" / "signs")
    graph = onnx.load(str(made.folder / "model.onnx")).graph
    sites = [list(node.input[1:]) for node in graph.node if node.op_type == "BatchNormalization"]
    assert sites[0] == ["bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
    assert len({name for site in sites for name in site}) == 12


@pytest.mark.parametrize(
    ("make", "shape", "free"),
    [
        (Sequence1d, (2, 2, 9), ("batch", "length")),
        (Volume3d, (2, 1, 4, 5, 6), ("batch", "depth", "height", "width")),
        (lambda: nn.SyncBatchNorm.convert_sync_batchnorm(Classifier()), (2, 3, 16, 16), ("batch",)),
        (Classifier, (1, 3, 16, 16), ("batch",)),
        (Classifier, (2, 3, 16, 16), ()),
        (Twice, (2, 3, 4, 4), ("batch", "height", "width")),
    ],
    ids=["1d", "3d without affine", "sync", "one row", "fixed", "twice"],
)
def test_kinds_of_batch_norms(make: Any, shape: tuple[int, ...], free: tuple[str, ...], tmp_path: Path) -> None:
    model = randomised(make())
    other = with_statistics_of(model, 7)
    made = export(model, torch.randn(shape), tmp_path / "models" / "net", domains={"a": model, "b": other}, free=free)
    assert max(made.errors.values()) < 1e-5
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["task"] == "tensors" and manifest["inputs"] == {"input": {"shape": [1, *shape[1:]]}}


def test_outputs_have_the_names_of_a_mapping(tmp_path: Path) -> None:
    made = export(randomised(Twice()), torch.randn(2, 3, 4, 4), tmp_path / "models" / "net")
    graph = onnx.load(str(made.folder / "model.onnx")).graph
    assert [value.name for value in graph.output] == ["first", "second"]
    assert made.layers == ("bn",)


def test_frozen_batch_norms_of_torchvision_and_timm(tmp_path: Path) -> None:
    torchvision = optional("torchvision")
    timm = optional("timm")
    frozen = torchvision.ops.FrozenBatchNorm2d
    model = randomised(Classifier(frozen))
    made = export(model, PICTURE, tmp_path / "models" / "a", domains={"x": model, "y": with_statistics_of(model, 3)})
    assert made.layers == ("bn1", "bn_left", "bn_right") and max(made.errors.values()) < 1e-5
    with_activation = nn.Sequential(nn.Conv2d(3, 4, 3), timm.layers.BatchNormAct2d(4))
    timm.layers.freeze_batch_norm_2d(with_activation)
    made = export(randomised(with_activation), PICTURE, tmp_path / "models" / "b")
    assert made.layers == ("1",) and made.errors["default"] < 1e-5


def test_banks_may_be_files_and_may_lack_gamma(tmp_path: Path) -> None:
    day = randomised(Classifier())
    night = with_statistics_of(day, 5)
    statistics = {key: value for key, value in night.state_dict().items() if "running" in key}
    save_file({f"module.{key}": value for key, value in day.state_dict().items()}, str(tmp_path / "day.safetensors"))
    made = export(
        day, PICTURE, tmp_path / "models" / "net", domains={"day": tmp_path / "day.safetensors", "night": statistics}
    )
    bank = load_file(str(bank_file(made.domains_folder / "net" / "night")))
    assert torch.equal(bank["bn1.weight"], day.bn1.weight) and torch.equal(
        bank["bn1.running_mean"], night.bn1.running_mean
    )


def test_image_to_image(tmp_path: Path) -> None:
    net = randomised(nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.PixelShuffle(2)))
    made = export(
        net,
        torch.rand(2, 3, 16, 16),
        tmp_path / "models" / "sr",
        task="image-to-image",
        preprocessing={"mean": [0, 0, 0], "std": [1, 1, 1]},
        free=("batch", "height", "width"),
        tiling={"tile": 64, "overlap": 1, "multipleOf": 1},
    )
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["output"] == {"name": "output", "scale": 2, "black": 0, "white": 1}
    assert manifest["tiling"]["tile"] == 64 and "size" not in manifest["input"]


def test_a_domain_of_another_size_needs_a_graph_of_any_size(tmp_path: Path) -> None:
    model = randomised(Classifier())
    arguments: Any = {
        "labels": LABELS,
        "preprocessing": MEAN_STD,
        "domains": {"day": model, "small": model},
        "domain_preprocessing": {"small": {"size": {"height": 8, "width": 8}}},
    }
    with pytest.raises(ModelRefused, match=r'"small" has pictures of 8 x 8.*free=\("batch", "height", "width"\)'):
        export(model, PICTURE, tmp_path / "models" / "net", **arguments)
    made = export(model, PICTURE, tmp_path / "models" / "net", **arguments, free=("batch", "height", "width"))
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["domains"]["small"] == {"input": {"size": {"height": 8, "width": 8}}}


def test_the_model_itself_stays_as_it_was(tmp_path: Path) -> None:
    model = randomised(Classifier())
    before = copy.deepcopy(model.state_dict())
    export(model, PICTURE, tmp_path / "models" / "net", domains={"other": with_statistics_of(model, 9)})
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_module_that_computes_something_else_is_told_by_its_layer(tmp_path: Path) -> None:
    day = randomised(Classifier())
    night = with_statistics_of(day, 5)
    night.act = nn.GELU().eval()
    with pytest.raises(
        ProofFailed, match=r'domain "night".*first layer that sees other values is "bn_left", behind "bn1"'
    ) as failed:
        export(day, PICTURE, tmp_path / "models" / "net", domains={"day": day, "night": night})
    assert failed.value.subject == "bn_left"
    assert list(tmp_path.iterdir()) == []


def test_the_tolerance_is_what_decides(tmp_path: Path) -> None:
    with pytest.raises(ProofFailed, match="differ from the module's by"):
        export(randomised(Classifier()), PICTURE, tmp_path / "models" / "net", tolerance=1e-12)


def test_an_existing_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    model = randomised(Classifier())
    export(model, PICTURE, tmp_path / "models" / "net")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, PICTURE, tmp_path / "models" / "net")
    export(model, PICTURE, tmp_path / "models" / "net", domains={"dusk": model}, overwrite=True)
    assert [path.name for path in (tmp_path / "domains" / "net").iterdir()] == ["dusk"]


class Counting(nn.Module):
    """Python takes the number of rows for a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(x).view(len(x), -1)


def test_axes_that_cannot_vary_are_told(tmp_path: Path) -> None:
    flat = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)))
    assert export(flat, PICTURE, tmp_path / "models" / "net").errors["default"] < 1e-5
    with pytest.raises(ModelRefused, match=r'does not take inputs \[3, 3, 32, 32\].*free=\("batch",\)'):
        export(flat, PICTURE, tmp_path / "models" / "other", free=("batch", "height", "width"))
    with pytest.raises(ModelRefused, match=r'"batch" cannot vary: .* a constant of it, 2, as with len\(x\).*free=\(\)'):
        export(randomised(Counting()), PICTURE, tmp_path / "models" / "other")
    with pytest.raises(ModelRefused, match='free has "lenght": it may name batch, depth, height, length, width'):
        export(flat, PICTURE, tmp_path / "models" / "other", free=("lenght",))
    with pytest.raises(ModelRefused, match='free has "depth", but no input has such an axis'):
        export(flat, PICTURE, tmp_path / "models" / "other", free=("depth",))
