"""manifest.json of a model folder (docs/your-model.md): what the server must know besides the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .errors import ModelRefused

Json = Mapping[str, Any]

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

TASKS = ("classification", "image-to-image", "tensors")

_PREPROCESSING_ADVICE = 'preprocessing={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]} (of values 0 to 1)'
_RULES = ("colour", "layout", "mean", "std", "size", "resize")

_CHOICES = {"layout": ("NCHW", "NHWC"), "colour": ("rgb", "bgr", "grey")}


def require_name(kind: str, name: str) -> None:
    """Names of models and domains become parts of paths."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise ModelRefused(
            f'"{name}" is no name for a {kind}: use up to 64 letters, digits, dots, dashes and underscores', name
        )


def task_of(task: str | None, labels: Sequence[str] | None) -> str:
    """Classification with labels, tensors without."""
    chosen = task or ("tensors" if labels is None else "classification")
    if chosen not in TASKS:
        raise ModelRefused(f'task is "{chosen}": expected one of {", ".join(TASKS)}')
    if (chosen == "classification") != (labels is not None):
        raise ModelRefused('labels belong to task="classification": give both, or neither')
    return chosen


def manifest_of(
    *,
    name: str,
    task: str,
    title: str | None,
    description: str | None,
    licence: str | None,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
    labels: Sequence[str] | None,
    preprocessing: Json | None,
    output: Json | None,
    tiling: Json | None,
    default_domain: str,
    domains: Mapping[str, Json],
) -> dict[str, Any]:
    """The manifest as JSON. Raises ModelRefused for what the task needs and was not given."""
    head = {
        "format": 1,
        "name": name,
        "title": title or name,
        "description": description,
        "licence": licence,
        "graph": "model.onnx",
        "task": task,
    }
    result: dict[str, Any] = {key: value for key, value in head.items() if value is not None}
    if task == "tensors":
        if preprocessing is not None or any("input" in entry for entry in domains.values()):
            raise ModelRefused('preprocessing belongs to pictures: leave it out with task="tensors"')
        result["inputs"] = {key: {"shape": [1, *tensor.shape[1:]]} for key, tensor in inputs.items()}
    else:
        result |= _of_pictures(task, inputs, outputs, labels, preprocessing, output, tiling)
    return {**result, "defaultDomain": default_domain, "domains": {key: dict(entry) for key, entry in domains.items()}}


def _of_pictures(
    task: str,
    inputs: Mapping[str, torch.Tensor],
    outputs: Mapping[str, torch.Tensor],
    labels: Sequence[str] | None,
    preprocessing: Json | None,
    output: Json | None,
    tiling: Json | None,
) -> dict[str, Any]:
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelRefused(
            f'task="{task}" needs one input and one output, the model has {len(inputs)} and {len(outputs)}: use '
            'task="tensors"'
        )
    (input_name, pixels), (output_name, values) = *inputs.items(), *outputs.items()
    rules = preprocessing_of(task, pixels, preprocessing)
    if task == "classification":
        assert labels is not None
        if values.dim() != 2 or values.shape[1] != len(labels):
            raise ModelRefused(
                f"there are {len(labels)} labels and the output has shape {list(values.shape)}: give one label for "
                'each class of an output [rows, classes], or task="tensors"'
            )
        shown = {"name": output_name, "activation": "softmax", **(output or {})}
        return {"input": {"name": input_name, **rules}, "output": shown, "labels": "labels.json"}
    if tiling is None:
        raise ModelRefused(
            'task="image-to-image" needs tiling={"tile": 192, "overlap": 16, "multipleOf": 1}: the largest side that '
            "runs at once, how far an output pixel sees, and what sides are multiples of"
        )
    scale = values.shape[2] // pixels.shape[2]
    shown = {"name": output_name, "scale": scale, "black": 0, "white": 1, **(output or {})}
    return {"input": {"name": input_name, **rules}, "output": shown, "tiling": dict(tiling)}


def preprocessing_of(task: str, pixels: torch.Tensor, given: Json | None) -> dict[str, Any]:
    """The rules of a model for pictures; what is not given is read off the example, but mean and std."""
    if pixels.dim() != 4:
        raise ModelRefused(
            f'task="{task}" takes pictures, the example has shape {list(pixels.shape)}: use task="tensors"'
        )
    given = given or {}
    unknown = sorted(set(given) - set(_RULES))
    if unknown:
        raise ModelRefused(f'preprocessing has "{unknown[0]}": it may have {", ".join(_RULES)}', unknown[0])
    for name, allowed in _CHOICES.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ModelRefused(f'{name} is "{given[name]}": expected one of {", ".join(allowed)}', name)
    if "mean" not in given or "std" not in given:
        raise ModelRefused(f"preprocessing lacks mean and std: give {_PREPROCESSING_ADVICE}")
    layout = given.get("layout", "NCHW")
    channels, height, width = (pixels.shape[axis] for axis in ((1, 2, 3) if layout == "NCHW" else (3, 1, 2)))
    if channels not in (1, 3):
        raise ModelRefused(
            f'task="{task}" takes pictures of 1 or 3 channels, the example has {channels}: use task="tensors"'
        )
    rules: dict[str, Any] = {"colour": "rgb" if channels == 3 else "grey", "layout": layout}
    if task == "classification":
        rules["size"] = {"height": height, "width": width}
        rules["resize"] = {"fit": "cover", "kernel": "bilinear"}
    rules |= given
    for name in ("mean", "std"):
        rules[name] = [float(value) for value in rules[name]]
        if len(rules[name]) != channels:
            raise ModelRefused(f"{name} has {len(rules[name])} values: give {channels}, one for each channel", name)
    return rules
