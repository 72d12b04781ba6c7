"""Tensors and pictures in, tensors, labels and pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bankswitch.calls.asking import ask, domain_list, made, naming_headers, read
from bankswitch.calls.recognised import recognised_picture, recognised_rows
from bankswitch.pictures import PictureSource, read_picture
from bankswitch.results import (
    Agreement,
    AnsweredBy,
    ComparedBank,
    Comparison,
    Inference,
    Picture,
    PictureDifference,
    Prediction,
    Predictions,
    Sheet,
)
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
    stream: str | None = None,
    timeout: float | None = None,
) -> Exchange[Inference]:
    """
    Runs the model on arrays by the names of its inputs, [rows, …] each, with the dtypes that it asks for.

    `domain` is one for all rows, or a sequence with one for each row, such as "fog", "fog:2", the blend
    "day=0.7,fog=0.3", or "auto" for the one that it looks like, where the answer's `recognised` tells how it was
    chosen; the model chooses if it is not given. `version` is a number or a label of the domain. `outputs` names those
    that are wanted, all if it is not given; with `classes` each of them is bytes "value:index:label" of its best
    classes, [rows, classes]. `stream` names the camera or the like: with "auto" most of its last pictures decide, all
    together whether they fit any domain, and drift is watched by stream. `timeout` is how long the request may wait, in
    seconds; beyond, DEADLINE_EXCEEDED. Raises InvalidCall and ServerError.
    """
    feeds = dict(inputs)
    if domain is not None and not isinstance(domain, str):
        feeds[_DOMAINS_OF_ROWS] = np.array(list(domain), object)
        domain = None
    head, body = encode(feeds, outputs, classes)
    headers = {
        **naming_headers(domain, version, timeout, stream),
        "content-type": "application/octet-stream",
        HEADER_LENGTH: str(head),
    }
    path = path_of("v2", "models", model, "infer")
    answer = yield from ask(Request("POST", path, headers=headers, body=body, timeout=timeout))
    message, arrays = decode(answer)
    parameters = message["parameters"]
    return made(
        answer,
        lambda: Inference(message["model_name"], arrays, _answered_by(parameters), recognised_rows(parameters)),
    )


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
    stream: str | None = None,
    timeout: float | None = None,
) -> Exchange[Predictions]:
    """
    Classifies a picture: a path, the bytes of a JPEG, PNG or WebP file, or uint8 pixels [height, width, channels].

    `domain`, `version`, `stream` and `timeout` are as in `infer`; `top` is how many classes are wanted, 5 if it is not
    given. Raises InvalidCall, ServerError, and OSError for a file that cannot be read.
    """
    headers = {**naming_headers(domain, version, timeout, stream), "accept": "application/json"}
    query = {} if top is None else {"top": str(top)}
    answer = yield from ask(_picture_request(model, "predict", picture, headers, query, timeout))
    return read(
        answer,
        lambda body: Predictions(
            body["model"],
            body["domain"],
            body["version"],
            _predictions(body["predictions"]),
            recognised_picture(answer.headers),
        ),
    )


def _predictions(found: Sequence[Mapping[str, Any]]) -> tuple[Prediction, ...]:
    return tuple(Prediction(one["index"], one["label"], one["score"]) for one in found)


def transform(
    model: str,
    picture: PictureSource,
    *,
    domain: str | None = None,
    version: int | str | None = None,
    format: str = "png",
    quality: int | None = None,
    stream: str | None = None,
    timeout: float | None = None,
) -> Exchange[Picture]:
    """
    Makes another picture of a picture, with a model for that; arguments are as in `predict`.

    `format` is "png", "jpeg" or "webp", `quality` that of the latter two, 1 to 100. Raises like `predict`.
    """
    headers = {**naming_headers(domain, version, timeout, stream), "accept": f"image/{format}"}
    query = {} if quality is None else {"quality": str(quality)}
    answer = yield from ask(_picture_request(model, "predict", picture, headers, query, timeout))
    told = answer.headers
    return made(
        answer,
        lambda: Picture(
            answer.body,
            told["content-type"],
            told["x-domain"],
            int(told["x-domain-version"]),
            recognised_picture(told),
        ),
    )


def compare(
    model: str,
    picture: PictureSource,
    *,
    domains: Sequence[str] | None = None,
    top: int | None = None,
    timeout: float | None = None,
) -> Exchange[Comparison]:
    """
    A picture under several banks: what each says and what most do, or how far the pictures that they make lie apart.

    `domains` are such as "fog", "fog:1" or the blend "day=0.5,fog=0.5", all that are active if none is given. The
    others are as in `predict`, and so is what it raises.
    """
    query = {} if top is None else {"top": str(top)}
    answer = yield from ask(_compare_request(model, picture, "application/json", domains, query, timeout))
    return read(answer, _comparison)


def compare_pictures(
    model: str, picture: PictureSource, *, domains: Sequence[str] | None = None, timeout: float | None = None
) -> Exchange[Sheet]:
    """The pictures that several banks make, side by side in one; arguments are as in `compare`."""
    answer = yield from ask(_compare_request(model, picture, "image/png", domains, {}, timeout))
    told = answer.headers

    def sheet() -> Sheet:
        names, versions = (told[name].split(",") for name in ("x-domain", "x-domain-version"))
        # Not there where nothing is known of any.
        unknown = "," * (len(names) - 1)
        fits, ps = (told.get(name, unknown).split(",") for name in ("x-domain-fit", "x-domain-p"))
        return Sheet(
            answer.body,
            told["content-type"],
            tuple(name if "=" in name else f"{name}:{version}" for name, version in zip(names, versions, strict=True)),
            tuple(fit or None for fit in fits),
            tuple(float(p) if p else None for p in ps),
        )

    return made(answer, sheet)


def _compare_request(
    model: str,
    picture: PictureSource,
    accept: str,
    domains: Sequence[str] | None,
    query: Mapping[str, str],
    timeout: float | None,
) -> Request:
    named = {"domains": domain_list(domains)} if domains else {}
    headers = {**naming_headers(None, None, timeout), "accept": accept}
    return _picture_request(model, "compare", picture, headers, {**named, **query}, timeout)


def _comparison(body: Mapping[str, Any]) -> Comparison:
    agreement = body.get("agreement")
    return Comparison(
        body["model"],
        tuple(
            ComparedBank(
                one["domain"],
                one["version"],
                _predictions(one.get("predictions", ())),
                one.get("entropy"),
                one.get("fit"),
                one.get("p"),
            )
            for one in body["banks"]
        ),
        None
        if agreement is None
        else Agreement(agreement["index"], agreement["label"], agreement["share"], tuple(agreement["banks"])),
        tuple(
            PictureDifference(tuple(one["banks"]), one["psnr"], one["meanDifference"], one["largestDifference"])
            for one in body.get("differences", ())
        ),
    )


def _picture_request(
    model: str,
    call: str,
    picture: PictureSource,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    timeout: float | None,
) -> Request:
    media_type, content = read_picture(picture)
    return Request(
        "POST",
        path_of("v1", "models", model, call),
        query=query,
        headers={**headers, "content-type": media_type},
        body=content,
        timeout=timeout,
    )
