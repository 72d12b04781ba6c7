"""The binary form of tensors, without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bankswitch import InvalidCall, UnexpectedAnswer
from bankswitch.tensors import HEADER_LENGTH, decode, encode, from_bytes, to_bytes
from bankswitch.wire import Answer

WIRE = [
    ("BOOL", "?", [False, True], "0001"),
    ("UINT8", "u1", [0, 255], "00ff"),
    ("UINT16", "u2", [1, 65535], "0100ffff"),
    ("UINT32", "u4", [1, 2**32 - 1], "01000000ffffffff"),
    ("UINT64", "u8", [1, 2**64 - 1], "0100000000000000ffffffffffffffff"),
    ("INT8", "i1", [1, -1], "01ff"),
    ("INT16", "i2", [1, -2], "0100feff"),
    ("INT32", "i4", [1, -2], "01000000feffffff"),
    ("INT64", "i8", [1, -(2**63)], "01000000000000000000000000000080"),
    ("FP16", "f2", [1, -2], "003c00c0"),
    ("FP32", "f4", [1, -2], "0000803f000000c0"),
    ("FP64", "f8", [1, -2], "000000000000f03f00000000000000c0"),
]


@pytest.mark.parametrize(("datatype", "dtype", "values", "wire"), WIRE)
@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_are_little_endian(datatype: str, dtype: str, values: list[Any], wire: str, order: Any) -> None:
    """Whatever the order of the array that is given."""
    array = np.array(values, dtype).astype(np.dtype(dtype).newbyteorder(order))
    assert to_bytes("x", array) == (datatype, bytes.fromhex(wire))
    back = from_bytes(datatype, [2, 1], bytes.fromhex(wire))
    assert back.dtype == np.dtype(dtype)
    assert back.tolist() == [[value] for value in np.array(values, dtype).tolist()]
    back[0] = back[1]


def test_arrays_that_are_not_contiguous_are_row_major() -> None:
    """A transposed array is written as it is indexed."""
    assert to_bytes("x", np.arange(6, dtype="u1").reshape(2, 3).T)[1] == bytes([0, 3, 1, 4, 2, 5])


@pytest.mark.parametrize(
    "array", [np.array(["ä", "", "b\0"], object), np.array([b"\xc3\xa4", b"", b"b\0"], object)], ids=["str", "bytes"]
)
def test_texts_have_their_length_before_them(array: Any) -> None:
    """As UTF-8, and bytes as they are."""
    datatype, content = to_bytes("x", array)
    assert (datatype, content.hex()) == ("BYTES", "02000000c3a400000000020000006200")
    assert from_bytes("BYTES", [3], content).tolist() == [b"\xc3\xa4", b"", b"b\0"]
    assert to_bytes("x", np.array(["a", "bc"]))[1].hex() == "0100000061020000006263"


@pytest.mark.parametrize(
    "content", ["0200000061", "01000000", "ffffffff61", "010000006100", "0100"], ids=lambda text: str(text)
)
def test_texts_that_do_not_add_up_are_refused(content: str) -> None:
    """Too short, too long, a length that reaches beyond the end."""
    with pytest.raises(ValueError):
        from_bytes("BYTES", [1], bytes.fromhex(content))


@pytest.mark.parametrize("array", [np.array([1j]), np.array(["2026"], "M8"), np.array([1.5], object)])
def test_other_types_are_refused_by_the_name_of_the_input(array: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidCall, match='the input "x" has'):
        to_bytes("x", array)


def test_a_request_is_json_and_then_the_inputs_in_their_order() -> None:
    """With the size of each, and binary outputs wanted."""
    head, body = encode({"a": np.array([[1, 2]], "i2"), "b": ["q"]}, outputs=["y"])
    assert json.loads(body[:head]) == {
        "inputs": [
            {"name": "a", "shape": [1, 2], "datatype": "INT16", "parameters": {"binary_data_size": 4}},
            {"name": "b", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}},
        ],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "y"}],
    }
    assert body[head:].hex() == "010002000100000071"
    with pytest.raises(InvalidCall, match="outputs=\\['logits'\\]"):
        encode({"a": [1.0]}, classes=3)


def answer(message: Any, binary: bytes = b"", header: str | None = None) -> Answer:
    """One as a server writes it."""
    head = json.dumps(message).encode()
    return Answer(200, {HEADER_LENGTH: header or str(len(head))}, head + binary)


def output(name: str, datatype: str, shape: list[int], **rest: Any) -> dict[str, Any]:
    """An output as a server describes it."""
    return {"name": name, "datatype": datatype, "shape": shape, **rest}


def test_an_answer_may_mix_binary_and_json() -> None:
    """And may be JSON alone, without a header."""
    message = {
        "outputs": [
            output("a", "FP16", [2], parameters={"binary_data_size": 4}),
            output("b", "INT64", [1, 2], data=[1, -1]),
            output("c", "BYTES", [1], data=["ä"]),
            output("d", "UINT8", [0, 3], parameters={"binary_data_size": 0}),
            output("e", "BYTES", [2], parameters={"binary_data_size": 9}),
        ]
    }
    _, arrays = decode(answer(message, bytes.fromhex("003c00c0010000007a00000000")))
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "a": [1, -2],
        "b": [[1, -1]],
        "c": ["ä".encode()],
        "d": [],
        "e": [b"z", b""],
    }
    assert arrays["d"].shape == (0, 3)
    assert decode(Answer(200, {}, b'{"outputs": []}'))[1] == {}


@pytest.mark.parametrize(
    "broken",
    [
        answer({"outputs": [output("a", "FP32", [2], parameters={"binary_data_size": 8})]}, bytes(4)),
        answer({"outputs": [output("a", "FP32", [1], parameters={"binary_data_size": 4})]}, bytes(5)),
        answer({"outputs": [output("a", "FP33", [1], parameters={"binary_data_size": 4})]}, bytes(4)),
        answer({"outputs": [output("a", "FP32", [2], data=[1])]}),
        answer({"outputs": [{"name": "a"}]}),
        answer([]),
        answer({"outputs": []}, header="x"),
        Answer(200, {}, b"<html>"),
    ],
)
def test_answers_that_break_the_protocol_are_refused(broken: Answer) -> None:
    """As what does not come from such a server."""
    with pytest.raises(UnexpectedAnswer):
        decode(broken)
