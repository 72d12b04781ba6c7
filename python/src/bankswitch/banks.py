"""Banks: the statistics of every batch norm of a network, by the names that PyTorch gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bankswitch.errors import InvalidCall

#: A file (.safetensors, .npz or .json) by its path or as bytes; or arrays by PyTorch's names, as a state_dict has them.
BankSource: TypeAlias = "str | PathLike[str] | bytes | Mapping[str, ArrayLike]"

#: Layer -> "mean", "variance", "gamma" and "beta" -> [channels].
Bank: TypeAlias = dict[str, dict[str, NDArray[Any]]]

UNTYPED = "application/octet-stream"

_MEDIA_TYPES = {".safetensors": UNTYPED, ".npz": "application/zip", ".json": "application/json"}

EXTENSIONS = tuple(_MEDIA_TYPES)

_STATISTICS = {"running_mean": "mean", "running_var": "variance", "weight": "gamma", "bias": "beta"}


def read_bank(source: BankSource) -> tuple[str, bytes]:
    """
    The media type and the bytes of a bank; of bytes and of other files the server tells the form itself. Raises OSError
    for a file that cannot be read, and InvalidCall for arrays that are none.
    """
    if isinstance(source, bytes):
        return UNTYPED, source
    if isinstance(source, Mapping):
        return UNTYPED, save({name: _array(name, value) for name, value in source.items()})
    path = Path(source)
    return _MEDIA_TYPES.get(path.suffix.lower(), UNTYPED), path.read_bytes()


def _array(name: str, value: ArrayLike) -> NDArray[Any]:
    array = np.asarray(value, order="C")
    if array.dtype.kind in "fiu":
        return array
    raise InvalidCall(f'"{name}" has dtype {array.dtype}; expected numbers')


def parse_bank(source: BankSource) -> Bank:
    """
    The layers of a bank: whatever has a mean or a variance. Raises InvalidCall for a file of another form, and OSError
    for one that cannot be read.
    """
    _, content = read_bank(source)
    try:
        if content.startswith(b"PK"):
            with np.load(BytesIO(content), allow_pickle=False) as arrays:
                return _layers(dict(arrays))
        # A safetensors file begins with a length of eight bytes, which may look like a brace and has zeros in it.
        if content.lstrip().startswith(b"{") and b"\0" not in content[:8]:
            return _json_layers(json.loads(content))
        return _layers(_in_order(content))
    except (SafetensorError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidCall(f"this is no bank: expected one of {', '.join(EXTENSIONS)}: {error}") from error


def _in_order(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file as its header lists them; the library gives them in any order."""
    tensors = load(content)
    header, _ = header_of(content)
    return {name: tensors[name] for name in header if name in tensors}


def header_of(content: bytes) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin."""
    begin = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:begin]), begin


def _json_layers(body: Mapping[str, Any]) -> Bank:
    return {
        layer: {statistic: np.asarray(values, np.float64) for statistic, values in statistics.items()}
        for layer, statistics in body["layers"].items()
    }


def _layers(tensors: Mapping[str, NDArray[Any]]) -> Bank:
    bank: Bank = {}
    for name, values in tensors.items():
        layer, _, suffix = name.rpartition(".")
        if suffix in _STATISTICS:
            bank.setdefault(layer, {})[_STATISTICS[suffix]] = values
    return {layer: found for layer, found in bank.items() if "mean" in found or "variance" in found}
