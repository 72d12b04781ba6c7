"""A module as an ONNX graph: batch norms kept and bound by their module paths, everything constant computed."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxscript.optimizer
import torch
import torch.nn as nn
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from .banks import Bank
from .batch_norms import STATISTICS, batch_norms
from .errors import ModelRefused

_NAME_SCOPES = "pkg.torch.onnx.name_scopes"

_AXES = {
    "NCHW": {
        2: ("batch",),
        3: ("batch", "", "length"),
        4: ("batch", "", "height", "width"),
        5: ("batch", "", "depth", "height", "width"),
    },
    "NHWC": {
        2: ("batch",),
        3: ("batch", "length"),
        4: ("batch", "height", "width"),
        5: ("batch", "depth", "height", "width"),
    },
}
"""What the axes of an input are called, by layout and rank; sequences and volumes have no layout of their own."""

CONSTANT_ELEMENTS_MAX = 1 << 24
"""A computed constant beyond this stays in the graph; the server computes it."""


def free_axes(inputs: Sequence[torch.Tensor], free: Sequence[str], layout: str) -> list[dict[int, str]]:
    """Per input which axes vary, by name. Raises ModelRefused for a name that no input has an axis for."""
    found = [
        {axis: name for axis, name in enumerate(_AXES[layout].get(tensor.dim(), ("batch",))) if name in free}
        for tensor in inputs
    ]
    known = {name for axes in _AXES[layout].values() for name in axes if name}
    for name in free:
        if name not in known:
            raise ModelRefused(f'free has "{name}": it may name {", ".join(sorted(known))}')
        if not any(name in axes.values() for axes in found):
            raise ModelRefused(f'free has "{name}", but no input has such an axis: leave it out', name)
    return found


def export_graph(
    model: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    free: Sequence[Mapping[int, str]],
    input_names: Sequence[str],
    output_names: Sequence[str],
) -> onnx.ModelProto:
    """The graph of a prepared model. Its batch norms read initializers named as in the state_dict, in execution order.

    Raises ModelRefused when the exporter fails, when an axis cannot vary, and when a batch norm of the model is not
    one of the graph.
    """
    dims = {name: torch.export.Dim(name) for axes in free for name in axes.values()}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in free)
    try:
        program = torch.onnx.export(
            model,
            tuple(_doubled(tensor, axes) for tensor, axes in zip(inputs, free, strict=True)),
            dynamo=True,
            optimize=False,
            external_data=False,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=shapes if dims else None,
            verbose=False,
        )
    except Exception as cause:
        names = ", ".join(dims) or "nothing"
        raise ModelRefused(
            f"PyTorch cannot export the model with {names} free: {_reason(cause)}. Give the axes that may vary, such "
            'as free=("batch",) or free=(), or change the line that the reason names'
        ) from cause
    assert program is not None
    onnxscript.optimizer.fold_constants(program.model)
    proto = program.model_proto
    _require_free(proto.graph, free)
    _compute_constants(proto.graph)
    _drop_zero_biases(proto.graph)
    _bind_batch_norms(proto.graph, model)
    _remove_unused(proto.graph)
    _strip_traces(proto)
    onnx.checker.check_model(proto)
    return proto


def _require_free(graph: onnx.GraphProto, free: Sequence[Mapping[int, str]]) -> None:
    """The exporter takes a size for a constant without a word where Python computes with it."""
    for value, axes in zip(graph.input, free, strict=True):
        for axis, name in axes.items():
            size = value.type.tensor_type.shape.dim[axis].dim_value
            if size != 0:
                rest = tuple(other for other in axes.values() if other != name)
                raise ModelRefused(
                    f'"{name}" cannot vary: the model makes a constant of it, {size}, as with len(x) or '
                    f"int(x.shape[{axis}]). Write x.shape[{axis}] there, or leave it out: free={rest}",
                    name,
                )


def _doubled(tensor: torch.Tensor, axes: Mapping[int, str]) -> torch.Tensor:
    """With two rows where one is given: the exporter takes a size of one for a constant."""
    return torch.cat([tensor, tensor]) if axes.get(0) == "batch" and len(tensor) == 1 else tensor


def _reason(cause: BaseException) -> str:
    """The first line of the innermost error."""
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return (lines[0] if lines else type(cause).__name__).rstrip(".")[:300]


def _compute_constants(graph: onnx.GraphProto) -> None:
    """Nodes whose inputs are all constants become initializers. Edits `graph` in place."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        is_constant = (
            node.domain == "" and not _has_body(node) and all(name in constants for name in node.input if name)
        )
        if not is_constant or node.op_type.startswith("Random") or node.op_type in ("Multinomial", "Bernoulli"):
            kept.append(node)
            continue
        feeds = {name: numpy_helper.to_array(constants[name]) for name in node.input if name}
        values = ReferenceEvaluator(node).run(None, feeds)
        if any(
            not isinstance(value, (np.ndarray, np.generic)) or value.size > CONSTANT_ELEMENTS_MAX for value in values
        ):
            kept.append(node)
            continue
        for name, value in zip(node.output, values, strict=True):
            constants[name] = numpy_helper.from_array(np.asarray(value), name)
            graph.initializer.append(constants[name])
    del graph.node[:]
    graph.node.extend(kept)


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """The exporter gives convolutions without a bias one of zeros; that of Conv3d has a shape that no bias may have."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        bias = constants.get(node.input[2]) if node.op_type in ("Conv", "ConvTranspose") and node.input[2:] else None
        if bias is not None and not numpy_helper.to_array(bias).any():
            del node.input[2]


def _has_body(node: onnx.NodeProto) -> bool:
    return any(
        attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
    )


def _bind_batch_norms(graph: onnx.GraphProto, model: nn.Module) -> None:
    """Every node reads the four initializers of its module, whatever the exporter has merged or renamed."""
    modules = batch_norms(model)
    bound: dict[str, str] = {}
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        if any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute):
            raise ModelRefused(f'batch norm "{node.name}" is exported in training mode: call model.eval()', node.name)
        path = _path_of(node, modules)
        if path is None:
            raise ModelRefused(
                f'"{node.name}" normalises in {_scopes(node)[-2:]}, which is no torch.nn.BatchNorm: make it one, so '
                "that it has a path in the model",
                node.name,
            )
        for slot, name in zip((3, 4, 1, 2), STATISTICS, strict=True):
            node.input[slot] = f"{path}.{name}"
            bound[node.input[slot]] = path
    others = [tensor for tensor in graph.initializer if tensor.name not in bound]
    del graph.initializer[:]
    graph.initializer.extend(others)
    for name, path in bound.items():
        values = getattr(modules[path], name.rpartition(".")[2]).detach().numpy()
        graph.initializer.append(numpy_helper.from_array(values, name))


def _scopes(node: onnx.NodeProto) -> list[str]:
    """Paths of the modules that a node stands in, outermost first, and what it was called last."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _NAME_SCOPES), "[]")
    return [str(scope) for scope in ast.literal_eval(text)]


def _path_of(node: onnx.NodeProto, modules: Mapping[str, nn.Module]) -> str | None:
    prefixes = {str(name).rpartition(".")[0] for name in node.input[1:5]}
    if len(prefixes) == 1 and prefixes <= modules.keys():
        return prefixes.pop()
    return next((scope for scope in reversed(_scopes(node)) if scope in modules), None)


def _remove_unused(graph: onnx.GraphProto) -> None:
    """Nodes and initializers that no output depends on, backwards. Edits `graph` in place."""
    read = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(name in read for name in node.output):
            kept.append(node)
            read.update(_reads(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)


def _reads(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for body in [attribute.g, *attribute.graphs]:
            names.update(value.name for value in body.output)
            for inner in body.node:
                names |= _reads(inner)
    return names


def _strip_traces(proto: onnx.ModelProto) -> None:
    """The exporter notes source lines with local paths; only the module path of a node is worth keeping."""
    graph = proto.graph
    for node in graph.node:
        scopes = [entry for entry in node.metadata_props if entry.key == _NAME_SCOPES]
        del node.metadata_props[:]
        node.metadata_props.extend(scopes)
        node.doc_string = ""
    for holder in [proto, graph, *graph.input, *graph.output, *graph.initializer]:
        del holder.metadata_props[:]
    del graph.value_info[:]


def layers_of(graph: onnx.GraphProto) -> list[str]:
    """The layers of a bank, in the order of the graph's nodes, which is the server's."""
    keys = [node.input[3].rpartition(".")[0] for node in graph.node if node.op_type == "BatchNormalization"]
    return list(dict.fromkeys(keys))


def with_bank(proto: onnx.ModelProto, bank: Bank) -> onnx.ModelProto:
    """A copy of the graph that has these statistics."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    for tensor in copied.graph.initializer:
        if tensor.name in bank:
            tensor.CopyFrom(numpy_helper.from_array(bank[tensor.name].numpy(), tensor.name))
    return copied
