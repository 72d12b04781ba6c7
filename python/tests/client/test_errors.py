"""Wrong use, and what it is told to do."""

from __future__ import annotations

import inspect
import socket
from typing import Any

import httpx
import numpy as np
import pytest

from bankswitch import AsyncClient, Client, InvalidCall, Retries, ServerError, UnexpectedAnswer, Unreachable
from served import SIGNS, Call, Server


def refused(server: Server, key: str | None, method: str, *arguments: Any, **named: Any) -> ServerError:
    """What a client with such a key gets to hear."""
    with Client(server.url, key) as client, pytest.raises(ServerError) as caught:
        getattr(client, method)(*arguments, **named)
    return caught.value


def test_without_a_key_one_is_told_how_to_give_it(server: Server) -> None:
    """In Python and on the command line."""
    error = refused(server, None, "register", SIGNS, "x", b"bank")
    assert (error.code, error.status) == ("AUTHENTICATION_REQUIRED", 401)
    assert "Client(url, key=Path('.bankswitch/admin.key').read_text())" in str(error)
    assert "--key-file" in str(error)


def test_with_a_wrong_key_one_is_told_where_the_right_one_is(server: Server) -> None:
    """And the key is not shown."""
    error = refused(server, "not-this-secret-key", "delete", SIGNS, "x")
    assert (error.code, error.status) == ("KEY_UNKNOWN", 401)
    assert "keys add" in str(error)
    assert "not-this-secret-key" not in str(error)
    assert "not-this-secret-key" not in repr(Client(server.url, "not-this-secret-key"))


def test_names_that_are_unknown_are_answered_with_the_known_ones(call: Call) -> None:
    """For domains and models, and with the request's id for the log."""
    with pytest.raises(ServerError) as caught:
        call("infer", SIGNS, {"input": np.zeros((1, 3, 32, 32), np.float32)}, domain="gone")
    assert (caught.value.code, caught.value.status) == ("DOMAIN_NOT_FOUND", 404)
    assert {"day", "fog"} <= set(caught.value.details["expected"])
    assert caught.value.request_id
    with pytest.raises(ServerError, match=f"there is doubler, echo, {SIGNS}"):
        call("domains", "gone")
    with pytest.raises(ServerError, match="REQUEST_INVALID"):
        call("model", "a/b")


def test_arrays_of_a_wrong_form_are_answered_with_the_right_one(call: Call) -> None:
    """By the names, shapes and types of the model."""
    for inputs, code in (
        ({"input": np.zeros((1, 3, 32, 32))}, "INPUT_DATATYPE_MISMATCH"),
        ({"input": np.zeros((1, 4, 32, 32), np.float32)}, "INPUT_SHAPE_MISMATCH"),
        ({"x": np.zeros((1, 3, 32, 32), np.float32)}, "INPUT_UNKNOWN|INPUT_MISSING"),
    ):
        with pytest.raises(ServerError, match=code):
            call("infer", SIGNS, inputs)


def test_a_model_that_makes_pictures_names_no_classes(call: Call) -> None:
    """And says which call does what."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ServerError, match="transform"):
        call("predict", "doubler", pixels)
    with pytest.raises(ServerError, match="NOT_ACCEPTABLE"):
        call("transform", SIGNS, pixels)
    with pytest.raises(ServerError, match="/v2/models/echo/infer"):
        call("predict", "echo", pixels)


def test_calls_that_mean_nothing_are_not_sent(call: Call) -> None:
    """Their errors are ValueErrors as well."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    for told, named in (
        ("give domain=", {"version": 2}),
        ("expected seconds", {"domain": "day", "timeout": 0}),
        ('a blend has no version: .* such as "day:1=0.5,fog=0.5"', {"domain": "day=0.5,fog=0.5", "version": 1}),
        ("no name of a domain", {"domain": "nächtlich"}),
        ("no name of a domain", {"domain": "day\r\nx-evil: 1"}),
    ):
        with pytest.raises(ValueError, match=told):
            call("predict", SIGNS, pixels, **named)
    with pytest.raises(InvalidCall, match="expected JPEG, PNG or WebP"):
        call("predict", SIGNS, b"GIF89a")
    with pytest.raises(InvalidCall, match="leave out if_match"):
        call("register", SIGNS, "x", b"", only_new=True, if_match=1)
    with pytest.raises(InvalidCall, match="astype"):
        call("infer", SIGNS, {"input": np.zeros((1, 3, 32, 32), complex)})


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:port", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    """At once."""
    with pytest.raises(InvalidCall):
        Client(url)


@pytest.mark.parametrize("key", ["", " \n", "two words", "schlüssel", "a\nb"])
def test_what_is_no_key_is_refused_unseen(key: str) -> None:
    """The file of a key may end in a line break, though."""
    with pytest.raises(InvalidCall) as caught:
        Client("http://host", key)
    assert key.strip() == "" or key not in str(caught.value)
    Client("http://host", "bsk_abc\n").close()


def test_a_server_that_is_not_there_is_named() -> None:
    """With the question whether it was started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with Client(url, retries=Retries(times=0)) as client, pytest.raises(Unreachable, match=f"{url}.*started"):
            client.models()


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, html="<html>"), httpx.Response(200, json=[]), httpx.Response(200)]
)
def test_another_server_is_not_understood(answer: httpx.Response) -> None:
    """Whatever it answers."""
    with Client("http://other", "k" * 16, transport=httpx.MockTransport(lambda _: answer)) as client:
        for method, arguments in (
            ("models", ()), ("domain", ("m", "d")), ("infer", ("m", {"x": [1.0]})), ("register", ("m", "d", b"bank")),
            ("predict", ("m", b"\xff\xd8\xff")), ("transform", ("m", b"\xff\xd8\xff")), ("job", ("id",)),
            ("compare", ("m", b"\xff\xd8\xff")), ("compare_pictures", ("m", b"\xff\xd8\xff")),
        ):  # fmt: skip
            with pytest.raises(UnexpectedAnswer):
                getattr(client, method)(*arguments)


def test_a_refusal_of_another_server_has_a_code_too() -> None:
    """By its status."""
    for answer in (
        httpx.Response(502, html="<html>"),
        httpx.Response(302, headers={"location": "/"}),
        httpx.Response(404, json=["x"]),
    ):
        with Client("http://other", transport=httpx.MockTransport(lambda _, answer=answer: answer)) as client:
            with pytest.raises(ServerError) as caught:
                client.models()
            assert caught.value.code == f"HTTP_{answer.status_code}"


def test_both_clients_have_the_same_calls_and_tell_them() -> None:
    """By the same documentation, with what they take."""

    def calls(client: type) -> dict[str, Any]:
        return {name: value for name, value in vars(client).items() if not name.startswith("_")}

    assert calls(Client).keys() == calls(AsyncClient).keys()
    for name, method in calls(Client).items():
        assert method.__doc__
        assert (
            inspect.signature(method).parameters.keys() == inspect.signature(calls(AsyncClient)[name]).parameters.keys()
        )
        assert next(iter(inspect.signature(method).parameters)) == "self"
    download = inspect.signature(Client("http://host").download)
    assert list(download.parameters) == ["model", "domain", "version"]
    assert (download.return_annotation, inspect.signature(Client.models).return_annotation) == ("bytes", "list[Model]")
