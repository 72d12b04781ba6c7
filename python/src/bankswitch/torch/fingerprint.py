"""The server's fingerprint of a network (src/compiler/fingerprint.ts): a bank belongs to it, and to no other."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_RECIPE = "bankswitch fingerprint 1"
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_GEOMETRY = {"strides": 1, "dilations": 1, "pads": 0, "output_padding": 0}
_EPSILON_DEFAULT = 1e-5


def fingerprint_of(graph: onnx.GraphProto) -> str:
    """64 hex digits, of a graph that `export_graph` made."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    digest = hashlib.sha256(_RECIPE.encode())
    for node in _execution_order(graph):
        attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "BatchNormalization":
            key, _, _ = node.input[3].rpartition(".")
            epsilon = float(np.float32(attributes.get("epsilon", _EPSILON_DEFAULT)))
            channels = constants[node.input[3]].dims[0]
            digest.update(f'["bn",{json_of(key)},{channels},{javascript_number(epsilon)}]'.encode())
        elif node.op_type in _WEIGHTED and node.domain == "":
            digest.update(json_of(_geometry(node.op_type, attributes)).encode())
            for name in node.input[:2]:
                if name in constants:
                    digest.update(json_of(list(constants[name].dims)).encode())
                    digest.update(numpy_helper.to_array(constants[name]).astype("<f4").tobytes())
    return digest.hexdigest()


def _geometry(op_type: str, attributes: dict[str, Any]) -> list[Any]:
    geometry = []
    for name, default in _GEOMETRY.items():
        values = list(attributes.get(name, []))
        geometry.append([] if all(value == default for value in values) else values)
    flags = [attributes.get("group", 1), attributes.get("transA", 0), attributes.get("transB", 0)]
    padding = attributes.get("auto_pad", b"").decode()
    return [op_type, flags, geometry, *([] if padding in ("", "NOTSET") else [padding])]


def _execution_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Kahn's order, first come first served: that of the server, where branches run side by side."""
    producer = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    waiting = [len({producer[name] for name in node.input if name in producer}) for node in graph.node]
    dependants: list[list[int]] = [[] for _ in graph.node]
    for at, node in enumerate(graph.node):
        for source in {producer[name] for name in node.input if name in producer}:
            dependants[source].append(at)
    ready = deque(at for at, count in enumerate(waiting) if count == 0)
    order: list[onnx.NodeProto] = []
    while ready:
        at = ready.popleft()
        order.append(graph.node[at])
        for dependant in dependants[at]:
            waiting[dependant] -= 1
            if waiting[dependant] == 0:
                ready.append(dependant)
    return order


def json_of(value: Any) -> str:  # noqa: ANN401
    """As JSON.stringify writes strings, integers and lists of them."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def javascript_number(value: float) -> str:
    """A finite number above 0 as ECMAScript writes it: without an exponent from 1e-6 on and below 1e21."""
    text = repr(value)
    if value >= 1e21 or value < 1e-6:
        mantissa, _, exponent = f"{text}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}" if exponent else text
    if "e" not in text:
        return text.removesuffix(".0")
    return np.format_float_positional(value, unique=True, trim="-")
