"""Whether a graph computes, under a bank, what a module computes; where not, from which layer on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
import torch.nn as nn
from torch.utils import _pytree as pytree

from .banks import Bank
from .errors import ModelRefused, ProofFailed
from .graph import layers_of, with_bank

SEED = 0

SMALLEST_SCALE = 1e-2
"""Outputs that are all smaller are taken as this large: what is left of a difference of large numbers is rounding."""

Inputs = tuple[torch.Tensor, ...]
Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


def flat_outputs(outputs: Any) -> list[torch.Tensor]:  # noqa: ANN401
    """Tensors of whatever a module returns: a tensor, or lists and mappings of them. Raises ModelRefused otherwise."""
    leaves = [leaf for leaf in pytree.tree_leaves(outputs) if leaf is not None]
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            raise ModelRefused(f"the model returns {type(leaf).__name__}: return tensors only")
    return leaves


def probes(inputs: Inputs, free: Sequence[Mapping[int, str]]) -> list[Inputs]:
    """The example, and where axes vary seeded noise like it with one more row and larger sides."""
    if not any(free):
        return [inputs]
    generator = torch.Generator().manual_seed(SEED)
    return [inputs, tuple(_larger(tensor, axes, generator) for tensor, axes in zip(inputs, free, strict=True))]


def _larger(tensor: torch.Tensor, axes: Mapping[int, str], generator: torch.Generator) -> torch.Tensor:
    shape = list(tensor.shape)
    for axis, name in axes.items():
        # Networks that halve their input want sides that can be halved as often.
        shape[axis] += 1 if name == "batch" else min(shape[axis] & -shape[axis], 32)
    if not tensor.is_floating_point():
        flat = tensor.flatten()
        return flat[torch.arange(int(np.prod(shape))) % len(flat)].reshape(shape)
    spread, mean = torch.std_mean(tensor.double(), correction=0)
    return (torch.randn(shape, generator=generator) * max(float(spread), 1e-3) + float(mean)).to(tensor.dtype)


def distance(actual: Array, expected: Array) -> float:
    """The largest difference, relative to the largest value expected; infinite where shapes differ, or what is not
    finite does."""
    if actual.shape != expected.shape:
        return float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(actual[~finite], expected[~finite], equal_nan=True) or not np.isfinite(actual[finite]).all():
        return float("inf")
    gap = np.abs(actual[finite].astype(np.float64) - expected[finite].astype(np.float64))
    largest = np.abs(expected[finite].astype(np.float64)).max(initial=SMALLEST_SCALE)
    return float(gap.max(initial=0) / largest)


class GraphProof:
    """Holds a graph; `check` compares it with a module under a bank."""

    def __init__(self, proto: onnx.ModelProto, tolerance: float) -> None:
        """`tolerance` bounds `distance`."""
        self._proto, self._tolerance = proto, tolerance
        self._inputs = [value.name for value in proto.graph.input]

    def check(self, domain: str, bank: Bank, module: nn.Module, cases: Sequence[Inputs]) -> float:
        """The largest distance over all cases. Raises ProofFailed, naming the first layer that sees other values."""
        proto = with_bank(self._proto, bank)
        largest = 0.0
        for case in cases:
            expected = [output.numpy() for output in _outputs(module, case)]
            actual = _run(proto, self._feeds(case))
            far = [distance(a, e) for a, e in zip(actual, expected, strict=True)]
            largest = max(largest, *far)
            if not largest <= self._tolerance:
                self._fail(domain, bank, module, case, largest)
        return largest

    def _feeds(self, case: Inputs) -> Arrays:
        return {name: tensor.numpy() for name, tensor in zip(self._inputs, case, strict=True)}

    def _fail(self, domain: str, bank: Bank, module: nn.Module, case: Inputs, error: float) -> None:
        seen = seen_by_layers(module, case, layers_of(self._proto.graph))
        proto = with_bank(self._proto, bank)
        sites = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
        known = {value.name for value in [*proto.graph.input, *proto.graph.output]}
        asked = list(dict.fromkeys(node.input[0] for node in sites if node.input[0] not in known))
        proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in asked)
        values = dict(zip(asked, _run(proto, self._feeds(case), asked), strict=True))
        taken: dict[str, int] = {}
        before = "the input"
        told = (
            f'domain "{domain}": the outputs of the graph differ from the module\'s by {error:.3g} for inputs '
            f"{_shapes(case)}"
        )
        for node in sites:
            layer = node.input[3].rpartition(".")[0]
            at = taken[layer] = taken.get(layer, -1) + 1
            expected = seen.get(layer, [])[at : at + 1]
            if not expected or (
                node.input[0] in values and distance(values[node.input[0]], expected[0]) > self._tolerance
            ):
                raise ProofFailed(
                    f'{told}; the first layer that sees other values is "{layer}", behind {before}: make what lies '
                    "between them the same in both, and free of Python that depends on values",
                    layer,
                )
            before = f'"{layer}"'
        raise ProofFailed(
            f"{told}, though every batch norm sees the same: look at {before} and what follows it", before
        )


@torch.no_grad()
def _outputs(module: nn.Module, case: Inputs) -> list[torch.Tensor]:
    try:
        return flat_outputs(module(*case))
    except (RuntimeError, ValueError, IndexError, AssertionError) as cause:
        raise ModelRefused(
            f"the model does not take inputs {_shapes(case)}: {cause}. Name in free only the axes that may vary, "
            'such as free=("batch",) or free=()'
        ) from cause


def _shapes(case: Inputs) -> str:
    return ", ".join(str(list(tensor.shape)) for tensor in case)


def _run(proto: onnx.ModelProto, feeds: Arrays, outputs: Sequence[str] | None = None) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        answer: list[Array] = session.run(outputs, feeds)
        return answer
    except Exception as cause:
        raise ModelRefused(
            f"ONNX Runtime does not run the graph: {cause}. Replace the operator that it names, or give free=()"
        ) from cause


def seen_by_layers(
    module: nn.Module, case: Inputs, layers: Sequence[str], run: Callable[[], object] | None = None
) -> dict[str, list[Array]]:
    """What each of the layers normalises, call by call, in `run` or else when the module is called with the case."""
    seen: dict[str, list[Array]] = {layer: [] for layer in layers}

    def watch(layer: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            seen[layer].append(arguments[0].detach().numpy())

        return hook

    handles = [module.get_submodule(layer).register_forward_pre_hook(watch(layer)) for layer in layers]
    try:
        with torch.no_grad():
            module(*case) if run is None else run()
    finally:
        for handle in handles:
            handle.remove()
    return seen
