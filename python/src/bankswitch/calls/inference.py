"""Tensors and pictures in, tensors, labels and pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bankswitch.calls.asking import ask, made, naming_headers, read
from bankswitch.pictures import PictureSource, read_picture
from bankswitch.results import AnsweredBy, Inference, Picture, Prediction, Predictions
from bankswitch.tensors import HEADER_LENGTH, decode, encode
from bankswitch.wire import Exchange, Request, path_of

#: The input that gives each row a domain of its own.
_DOMAINS_OF_ROWS = "__domain__"


def infer(
    model: str,
    inputs: Mapping[str, ArrayLike],
    *,
    domain: str | Sequence[str] | None = None,
    version: int | str | None = None,
    outputs: Sequence[str] | None = None,
    classes: int | None = None,
    timeout: float | None = None,
) -> Exchange[Inference]:
    """
    Runs the model on arrays by the names of its inputs, [rows, …] each, with the dtypes that it asks for.

    `domain` is one for all rows, or a sequence with one for each row, such as "fog" or "fog:2"; the model chooses if
    it is not given. `version` is a number or a label of the domain. `outputs` names those that are wanted, all if it is
    not given; with `classes` each of them is bytes "value:index:label" of its best classes, [rows, classes]. `timeout`
    is how long the request may wait, in seconds; beyond, DEADLINE_EXCEEDED. Raises InvalidCall and ServerError.
    """
    feeds = dict(inputs)
    if domain is not None and not isinstance(domain, str):
        feeds[_DOMAINS_OF_ROWS] = np.array(list(domain), object)
        domain = None
    head, body = encode(feeds, outputs, classes)
    headers = {
        **naming_headers(domain, version, timeout),
        "content-type": "application/octet-stream",
        HEADER_LENGTH: str(head),
    }
    path = path_of("v2", "models", model, "infer")
    answer = yield from ask(Request("POST", path, headers=headers, body=body, timeout=timeout))
    message, arrays = decode(answer)
    return made(answer, lambda: Inference(message["model_name"], arrays, _answered_by(message["parameters"])))


def _answered_by(parameters: Mapping[str, Any]) -> tuple[AnsweredBy, ...]:
    domains, versions, digests = (
        str(parameters[name]).split(",") for name in ("domain", "domain_version", "bank_digest")
    )
    return tuple(
        AnsweredBy(domain, int(version), digest)
        for domain, version, digest in zip(domains, versions, digests, strict=True)
    )


def predict(
    model: str,
    picture: PictureSource,
    *,
    domain: str | None = None,
    version: int | str | None = None,
    top: int | None = None,
    timeout: float | None = None,
) -> Exchange[Predictions]:
    """
    Classifies a picture: a path, the bytes of a JPEG, PNG or WebP file, or uint8 pixels [height, width, channels].

    `domain`, `version` and `timeout` are as in `infer`; `top` is how many classes are wanted, 5 if it is not given.
    Raises InvalidCall, ServerError, and OSError for a file that cannot be read.
    """
    headers = {**naming_headers(domain, version, timeout), "accept": "application/json"}
    query = {} if top is None else {"top": str(top)}
    answer = yield from ask(_predict_request(model, picture, headers, query, timeout))
    return read(
        answer,
        lambda body: Predictions(
            body["model"],
            body["domain"],
            body["version"],
            tuple(Prediction(one["index"], one["label"], one["score"]) for one in body["predictions"]),
        ),
    )


def transform(
    model: str,
    picture: PictureSource,
    *,
    domain: str | None = None,
    version: int | str | None = None,
    format: str = "png",
    quality: int | None = None,
    timeout: float | None = None,
) -> Exchange[Picture]:
    """
    Makes another picture of a picture, with a model for that; arguments are as in `predict`.

    `format` is "png", "jpeg" or "webp", `quality` that of the latter two, 1 to 100. Raises like `predict`.
    """
    headers = {**naming_headers(domain, version, timeout), "accept": f"image/{format}"}
    query = {} if quality is None else {"quality": str(quality)}
    answer = yield from ask(_predict_request(model, picture, headers, query, timeout))
    told = answer.headers
    return made(
        answer,
        lambda: Picture(answer.body, told["content-type"], told["x-domain"], int(told["x-domain-version"])),
    )


def _predict_request(
    model: str, picture: PictureSource, headers: Mapping[str, str], query: Mapping[str, str], timeout: float | None
) -> Request:
    media_type, content = read_picture(picture)
    return Request(
        "POST",
        path_of("v1", "models", model, "predict"),
        query=query,
        headers={**headers, "content-type": media_type},
        body=content,
        timeout=timeout,
    )
