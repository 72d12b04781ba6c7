"""What models and domains there are, and changing domains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bankswitch.banks import EXTENSIONS, Bank, BankSource, parse_bank, read_bank
from bankswitch.calls.asking import ask, guarding_headers, read
from bankswitch.difference import LayerDifference, bank_difference
from bankswitch.errors import InvalidCall
from bankswitch.results import Domain, Drift, DriftCandidate, Model, MovedChannel, Registered, Version
from bankswitch.wire import Answer, Exchange, Request, path_of


def models() -> Exchange[list[Model]]:
    """All models of the server. Raises ServerError."""
    answer = yield from ask(Request("GET", path_of("v1", "models")))
    return read(answer, lambda body: [_model(one) for one in body["models"]])


def model(model: str) -> Exchange[Model]:
    """One model. Raises ServerError, MODEL_NOT_FOUND naming those that there are."""
    answer = yield from ask(Request("GET", path_of("v1", "models", model)))
    return read(answer, _model)


def domains(model: str) -> Exchange[list[Domain]]:
    """All domains of a model. Raises ServerError."""
    answer = yield from ask(Request("GET", path_of("v1", "models", model, "domains")))
    return read(answer, lambda body: [_domain(one) for one in body["domains"]])


def domain(model: str, domain: str) -> Exchange[Domain]:
    """One domain. Raises ServerError, DOMAIN_NOT_FOUND naming those that there are."""
    answer = yield from ask(Request("GET", path_of("v1", "models", model, "domains", domain)))
    return read(answer, _domain)


def versions(model: str, domain: str) -> Exchange[list[Version]]:
    """All versions of a domain, oldest first. Raises ServerError."""
    answer = yield from ask(Request("GET", path_of("v1", "models", model, "domains", domain)))
    return read(answer, lambda body: list(_domain(body).versions))


def drift(model: str, domain: str) -> Exchange[Drift]:
    """Whether pictures are still those of a domain. Raises ServerError, DRIFT_OFF where nobody looks for it."""
    answer = yield from ask(Request("GET", path_of("v1", "models", model, "domains", domain, "drift")))
    return read(
        answer,
        lambda body: Drift(
            body["model"],
            body["domain"],
            body["version"],
            body["state"],
            body.get("pictures"),
            body.get("eValue"),
            body.get("nearest"),
            tuple(MovedChannel(one["layer"], one["channel"], one["of"], one["shift"]) for one in body.get("moved", ())),
            body,
        ),
    )


def candidates(model: str) -> Exchange[list[DriftCandidate]]:
    """
    New domains made of pictures that fitted none, and what they would change; others that nobody has decided about,
    from before a restart for example, are among `domains`. Needs an admin key. Raises ServerError, DRIFT_OFF where
    none are made.
    """
    answer = yield from ask(Request("GET", path_of("admin", "models", model, "candidates")))
    return read(answer, lambda body: [_candidate(one) for one in body["candidates"]])


def register(
    model: str,
    domain: str,
    bank: BankSource,
    *,
    activate: bool = True,
    preprocessing: Mapping[str, Any] | None = None,
    if_match: int | None = None,
    only_new: bool = False,
) -> Exchange[Registered]:
    """
    Registers a bank as a new version of a domain, new or not. Needs an admin key.

    `bank` is a path (.safetensors, .npz, .json), the bytes of such a file, or arrays by PyTorch's names
    (`bn1.running_mean`), of which what is no statistic is ignored. With `activate=False` it is only stored;
    `preprocessing` overrides the model's rules. `if_match` is the revision that the domain must have, `only_new`
    refuses a domain that is there already: PRECONDITION_FAILED. Raises InvalidCall, ServerError, and OSError for a
    file that cannot be read.
    """
    media_type, content = read_bank(bank)
    query = {} if activate else {"activate": "false"}
    if preprocessing is not None:
        query["preprocessing"] = json.dumps(preprocessing)
    answer = yield from ask(
        Request(
            "PUT",
            _admin(model, domain),
            query=query,
            headers={**guarding_headers(if_match, only_new), "content-type": media_type},
            body=content,
            is_idempotent=False,
        )
    )
    return _registered(answer)


def register_blend(
    model: str,
    domain: str,
    blend: str,
    *,
    activate: bool = True,
    description: str | None = None,
    if_match: int | None = None,
    only_new: bool = False,
) -> Exchange[Registered]:
    """
    Keeps a blend of other domains, "day=0.7,fog=0.3", as a new version of a domain, new or not. Needs an admin key.

    The others are as in `register`. Raises InvalidCall and ServerError.
    """
    body = {"blend": blend} if description is None else {"blend": blend, "description": description}
    answer = yield from ask(
        Request(
            "POST",
            _admin(model, domain, "blend"),
            query={} if activate else {"activate": "false"},
            headers={**guarding_headers(if_match, only_new), "content-type": "application/json"},
            body=json.dumps(body).encode(),
            is_idempotent=False,
        )
    )
    return _registered(answer)


def _registered(answer: Answer) -> Registered:
    return read(
        answer,
        lambda body: Registered(
            body["model"],
            body["domain"],
            body["version"],
            body["digest"],
            body["active"],
            tuple(body.get("ignored", ())),
            tuple((warning["code"], warning["message"]) for warning in body.get("warnings", ())),
            int(answer.headers["etag"].strip('"')),
            body.get("blend"),
        ),
    )


def activate(model: str, domain: str, version: int, *, if_match: int | None = None) -> Exchange[Domain]:
    """Makes a version the one that answers. Needs an admin key. Raises ServerError."""
    answer = yield from ask(
        Request(
            "POST",
            _admin(model, domain, "activate"),
            headers={**guarding_headers(if_match), "content-type": "application/json"},
            body=json.dumps({"version": version}).encode(),
            is_idempotent=if_match is None,
        )
    )
    return read(answer, _domain)


def rollback(model: str, domain: str, *, if_match: int | None = None) -> Exchange[Domain]:
    """Lets the version answer that did before. Needs an admin key. Raises ServerError."""
    answer = yield from ask(
        Request("POST", _admin(model, domain, "rollback"), headers=guarding_headers(if_match), is_idempotent=False)
    )
    return read(answer, _domain)


def delete(model: str, domain: str, version: int | None = None, *, if_match: int | None = None) -> Exchange[None]:
    """Removes a version that is not active, or the whole domain. Needs an admin key. Raises ServerError."""
    path = _admin(model, domain) if version is None else _admin(model, domain, "versions", version)
    yield from ask(Request("DELETE", path, headers=guarding_headers(if_match), is_idempotent=False))


def download(model: str, domain: str, version: int | str | None = None) -> Exchange[bytes]:
    """
    A bank as a safetensors file, to register elsewhere; the active version's if none is named by number or label. Needs
    a key. Raises ServerError, and InvalidCall for a label that is not there and for a domain without an active version.
    """
    if not isinstance(version, int):
        version = _pinned((yield from _described(model, domain)), version)
    answer = yield from ask(Request("GET", _admin(model, domain, "versions", version)))
    return answer.body


def diff(a: BankSource, b: BankSource) -> Exchange[list[LayerDifference]]:
    """
    How far two banks lie apart, layer by layer, in the order of the first: the figures of `bankswitch diff`.

    Each is a stored bank, "model/domain", "model/domain:version" or "model/domain:label", which needs a key; or, as for
    `register`, a file by its name, bytes or arrays. Raises InvalidCall, ServerError, and OSError.
    """
    first = yield from _bank(a)
    second = yield from _bank(b)
    return bank_difference(first, second)


def _bank(source: BankSource) -> Exchange[Bank]:
    if not isinstance(source, str) or source.lower().endswith(EXTENSIONS):
        return parse_bank(source)
    model, _, reference = source.partition("/")
    if reference == "" or "/" in reference:
        raise InvalidCall(f'"{source}" is neither a file ({", ".join(EXTENSIONS)}) nor model/domain')
    domain, _, pin = reference.partition(":")
    version = int(pin) if pin.isdecimal() else pin or None
    return parse_bank((yield from download(model, domain, version)))


def _described(model: str, name: str) -> Exchange[Domain]:
    return (yield from domain(model, name))


def _pinned(domain: Domain, label: str | None) -> int:
    if label is None or label == "active":
        if domain.active is None:
            raise InvalidCall(f'no version of domain "{domain.domain}" is active; name one by its number')
        return domain.active
    if label not in domain.labels:
        known = ", ".join(domain.labels) or "none"
        raise InvalidCall(f'domain "{domain.domain}" has no label "{label}"; it has {known}')
    return domain.labels[label]


def _admin(model: str, domain: str, *rest: str | int) -> str:
    return path_of("admin", "models", model, "domains", domain, *rest)


def _model(body: Mapping[str, Any]) -> Model:
    return Model(
        body["name"],
        body["task"],
        body["state"],
        body["defaultDomain"],
        tuple(body["domains"]),
        body.get("compiled", {}).get("fingerprint"),
        body,
    )


def _candidate(body: Mapping[str, Any]) -> DriftCandidate:
    base = body["base"]
    return DriftCandidate(
        body["domain"],
        body["version"],
        body["stream"],
        body["images"],
        f"{base['domain']}:{base['version']}",
        body["comparedRows"],
        body["disagreeingRows"],
        body["notFiniteRows"],
        body["largestRelativeDifference"],
        body["isActive"],
        body["since"],
    )


def _domain(body: Mapping[str, Any]) -> Domain:
    return Domain(
        domain=body["domain"],
        description=body.get("description"),
        active=body["active"],
        revision=body["revision"],
        default=body["default"],
        labels=body.get("labels", {}),
        canary=body.get("canary"),
        shadow=body.get("shadow"),
        gate=body.get("gate"),
        versions=tuple(_version(one) for one in body["versions"]),
    )


def _version(body: Mapping[str, Any]) -> Version:
    return Version(
        body["version"],
        body["digest"],
        body["fingerprint"],
        body["source"],
        body["bytes"],
        body["createdAt"],
        body["active"],
        body.get("preprocessing"),
    )
