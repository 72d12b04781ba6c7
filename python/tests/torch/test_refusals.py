"""Wrong use: every error names what is wrong and says what to type."""

# PyTorch is typed in part.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type, assignment, call-overload, import-untyped"

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn

from bankswitch.torch import ModelRefused, export, train_bank
from small_nets import Classifier, randomised, with_statistics_of

PICTURE = torch.randn(2, 3, 16, 16)
DAY = randomised(Classifier())


def state_with(**changes: Any) -> dict[str, Any]:
    """The state_dict of another domain, changed."""
    state = dict(with_statistics_of(DAY, 5).state_dict())
    for key, value in changes.items():
        if value is None:
            del state[key.replace("__", ".")]
        else:
            state[key.replace("__", ".")] = value
    return state


def in_training(path: str) -> nn.Module:
    model = randomised(Classifier())
    model.get_submodule(path).train()
    return model


def scripted() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(DAY, PICTURE)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Classifier(), r"the model is in training mode: call model\.eval\(\)"),
        (in_training("bn_left"), r'layer "bn_left" is in training mode: call model\.eval\(\)'),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), "has no batch norm, so there is nothing to switch"),
        (
            nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)).eval(),
            '"0" has no statistics.*track_running_stats=True',
        ),
        (
            nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True)).eval(),
            r"replace it by torch\.nn\.BatchNorm2d\(3\)",
        ),
        (nn.Sequential(nn.LazyBatchNorm2d()).eval(), r'"0" has no parameters yet: call model\(example\) once'),
        (nn.DataParallel(randomised(Classifier())), r"wrapped in DataParallel: give model\.module"),
        (randomised(Classifier()).half(), r"expected torch\.float32: call model\.float\(\)"),
        (scripted(), r"expected a torch\.nn\.Module, received TopLevelTracedModule"),
        ({"a": 1}, r"expected a torch\.nn\.Module, received dict"),
    ],
    ids=["training", "layer in training", "none", "untracked", "instance", "lazy", "wrapped", "half", "script", "dict"],
)
def test_modules(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=message):
        export(model, PICTURE, tmp_path / "models" / "net")
    with pytest.raises(ModelRefused, match=message):
        train_bank(model, [(PICTURE, torch.zeros(2, dtype=torch.long))], epochs=1)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            state_with(conv1__weight=torch.zeros(6, 3, 3, 3)),
            '"conv1.weight" differs between domain "night" and the model',
        ),
        (state_with(conv1__weight=torch.zeros(7, 3, 3, 3)), r'"conv1.weight" has shape \[7, 3, 3, 3\].*\[6, 3, 3, 3\]'),
        (state_with(fc__bias=None), 'lacks "fc.bias": give all of model.state_dict'),
        (state_with(bn1__running_var=None), 'lacks "bn1.running_var": give running_mean and running_var'),
        (state_with(bn1__running_mean=torch.zeros(3)), r'"bn1.running_mean" has shape \[3\]'),
        (
            state_with(bn1__running_var=-torch.ones(6)),
            '"bn1.running_var" of domain "night" has values that no bank may hold',
        ),
        (state_with(bn1__weight=torch.full((6,), float("nan"))), '"bn1.weight" of domain "night" has values'),
        (state_with(bn_1__weight=torch.ones(6)), '"bn_1.weight", which the model has not; the model has "bn1.weight"'),
        ({}, 'lacks "bn1.running_mean"'),
        (Classifier(), r'domain "night": the model is in training mode: call model\.eval\(\)'),
        (5, 'domain "night" is int: give a module'),
    ],
    ids=[
        "weights",
        "shape",
        "missing",
        "statistic",
        "length",
        "variance",
        "nan",
        "unknown",
        "empty",
        "training",
        "int",
    ],
)
def test_domains(state: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=message):
        export(DAY, PICTURE, tmp_path / "models" / "net", domains={"day": DAY, "night": state})
    assert list(tmp_path.iterdir()) == []


def test_another_epsilon(tmp_path: Path) -> None:
    night = with_statistics_of(DAY, 5)
    night.bn1.eps = 1e-3
    with pytest.raises(ModelRefused, match=r'"bn1"\.eps is 0\.001 in domain "night" and 1e-05 in the model'):
        export(DAY, PICTURE, tmp_path / "models" / "net", domains={"day": DAY, "night": night})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["a"] * 5}, "preprocessing lacks mean and std: give preprocessing="),
        (
            {"labels": ["a"], "preprocessing": {"mean": [0] * 3, "std": [1] * 3}},
            "there are 1 labels and the output has shape",
        ),
        ({"labels": ["a"] * 5, "preprocessing": {"mean": [0], "std": [1] * 3}}, "mean has 1 values: give 3"),
        ({"labels": ["a"] * 5, "preprocessing": {"color": "rgb"}}, 'preprocessing has "color": it may have colour'),
        (
            {"labels": ["a"] * 5, "preprocessing": {"layout": "HWC"}},
            'layout is "HWC": expected one of NCHW, NHWC',
        ),
        ({"task": "classification"}, 'labels belong to task="classification"'),
        ({"task": "detection"}, "expected one of classification, image-to-image, tensors"),
        ({"task": "image-to-image", "preprocessing": {"mean": [0] * 3, "std": [1] * 3}}, "needs tiling="),
        ({"domains": {}}, "there is no domain"),
        ({"domains": {"a/b": DAY}}, '"a/b" is no name for a domain'),
        ({"default_domain": "night"}, 'there is no domain "night": name one of default'),
        ({"output_names": ["a", "b"]}, "output_names has 2 names: give 1"),
    ],
    ids=[
        "mean",
        "labels",
        "channels",
        "rule",
        "layout",
        "task",
        "unknown task",
        "tiling",
        "none",
        "name",
        "default",
        "outputs",
    ],
)
def test_arguments(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=message):
        export(DAY, PICTURE, tmp_path / "models" / "net", **arguments)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (PICTURE.double(), r"give example\.float\(\)"),
        (torch.randn(2, 4, 16, 16), "does not take the example"),
        ([1, 2], "must be a tensor with at least one row"),
    ],
    ids=["double", "channels", "list"],
)
def test_examples(example: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=message):
        export(DAY, example, tmp_path / "models" / "net")


def test_a_folder_that_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match='"a b" is no name for a model'):
        export(DAY, PICTURE, tmp_path / "models" / "a b")
