"""
Inference requests and answers of the Open Inference Protocol v2, with its extension for binary tensors:

    | JSON of Inference-Header-Content-Length bytes | tensor | tensor | …

Numbers are little-endian and row-major; BOOL is a byte; each element of BYTES has its length before it, a uint32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bankswitch.errors import InvalidCall, UnexpectedAnswer
from bankswitch.wire import Answer

HEADER_LENGTH = "inference-header-content-length"

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_BYTES = "BYTES"


def encode(
    inputs: Mapping[str, ArrayLike], outputs: Sequence[str] | None = None, classes: int | None = None
) -> tuple[int, bytes]:
    """
    The body of a request that wants binary outputs, and how many of its bytes are JSON. With `classes` each of the
    named outputs comes as BYTES of its best classes, "value:index:label". Raises InvalidCall for an array whose dtype
    the protocol does not know.
    """
    if classes is not None and not outputs:
        raise InvalidCall("classes are of outputs by name: outputs=['logits'], classes=5")
    described, parts = [], []
    for name, value in inputs.items():
        array = np.asarray(value)
        datatype, content = to_bytes(name, array)
        parameters = {"binary_data_size": len(content)}
        described.append({"name": name, "shape": array.shape, "datatype": datatype, "parameters": parameters})
        parts.append(content)
    message: dict[str, Any] = {"inputs": described, "parameters": {"binary_data_output": True}}
    if outputs is not None:
        wanted = {} if classes is None else {"parameters": {"classification": classes, "binary_data": True}}
        message["outputs"] = [{"name": name, **wanted} for name in outputs]
    head = json.dumps(message).encode()
    return len(head), b"".join([head, *parts])


def decode(answer: Answer) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]]:
    """The JSON of an answer, and its outputs by name. Raises UnexpectedAnswer for one that breaks the protocol."""
    try:
        length = int(answer.headers.get(HEADER_LENGTH, len(answer.body)))
        message = json.loads(answer.body[:length])
        at = length
        outputs: dict[str, NDArray[Any]] = {}
        for output in message["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            shape, datatype = output["shape"], output["datatype"]
            if size is None:
                dtype = np.dtype(object) if datatype == _BYTES else _DTYPES[datatype]
                values = [text.encode() for text in output["data"]] if datatype == _BYTES else output["data"]
                outputs[output["name"]] = np.array(values, dtype).reshape(shape)
            else:
                outputs[output["name"]] = from_bytes(datatype, shape, answer.body[at : at + size])
                at += size
        if at != len(answer.body):
            raise ValueError(f"{len(answer.body) - at} bytes too many")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(f"the answer is none of the Open Inference Protocol: {error!r}") from error
    return message, outputs


def to_bytes(name: str, array: NDArray[Any]) -> tuple[str, bytes]:
    """The protocol's datatype of an array, and its bytes. Raises InvalidCall for another dtype, by the input's name."""
    if array.dtype.kind in "OSU":
        return _BYTES, b"".join(_element(name, value) for value in array.reshape(-1).tolist())
    dtype = array.dtype.newbyteorder("<")
    datatype = _NAMES.get(dtype)
    if datatype is None:
        raise InvalidCall(
            f'the input "{name}" has dtype {array.dtype}; expected bool, integers, float16, 32 or 64, or text; '
            f"try array.astype('float32')"
        )
    return datatype, array.astype(dtype, copy=False).tobytes()


def _element(name: str, value: object) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    if not isinstance(content, bytes):
        raise InvalidCall(f'the input "{name}" has an element of {type(value).__name__}; expected str or bytes')
    return struct.pack("<I", len(content)) + content


def from_bytes(datatype: str, shape: Sequence[int], content: bytes) -> NDArray[Any]:
    """An array that may be written to; BYTES are objects of `bytes`. Raises ValueError and KeyError for a mismatch."""
    if datatype != _BYTES:
        return np.frombuffer(bytearray(content), _DTYPES[datatype]).reshape(shape)
    elements = np.empty(prod(shape), object)
    at = 0
    for place in range(len(elements)):
        (length,) = struct.unpack("<I", content[at : at + 4].ljust(4, b"\xff"))
        at += 4 + length
        elements[place] = content[at - length : at]
    if at != len(content):
        raise ValueError(f"{len(content)} bytes do not hold {len(elements)} elements")
    return elements.reshape(shape)
