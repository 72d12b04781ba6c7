"""From a module and its domains to what the server reads: a model folder, and a folder of domains beside it."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.nn as nn

from .banks import Bank, Domain, bank_from, load_bank
from .batch_norms import prepared
from .domain_folder import write_domain
from .errors import ModelRefused
from .fingerprint import fingerprint_of
from .graph import export_graph, free_axes, layers_of
from .manifest import manifest_of, require_name, task_of
from .proof import GraphProof, flat_outputs, probes

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """What `export` has written and proven."""

    folder: Path
    """The model folder: model.onnx, manifest.json and, for a classifier, labels.json."""
    domains_folder: Path
    """Holds `<model>/<domain>/`, the bank of each domain."""
    fingerprint: str
    """Of the network; a bank that carries another is refused."""
    layers: tuple[str, ...]
    """Batch norms of the graph, by the keys of a bank."""
    errors: Mapping[str, float]
    """By domain: the largest difference between the module's outputs and ONNX Runtime's, relative to the largest."""

    def command(self) -> str:
        """What to type in bankswitch's folder to serve it."""
        models, domains = self.folder.parent.resolve(), self.domains_folder.resolve()
        return f"BANKSWITCH_MODELS_DIR={models} BANKSWITCH_DOMAINS_DIR={domains} npm start"


def export(
    model: nn.Module,
    example: torch.Tensor | tuple[torch.Tensor, ...],
    folder: str | Path,
    *,
    domains: Mapping[str, Domain] | None = None,
    default_domain: str | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    domain_preprocessing: Mapping[str, Mapping[str, Any]] | None = None,
    descriptions: Mapping[str, str] | None = None,
    task: str | None = None,
    output: Mapping[str, Any] | None = None,
    tiling: Mapping[str, Any] | None = None,
    free: Sequence[str] = ("batch",),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    title: str | None = None,
    description: str | None = None,
    licence: str | None = None,
    domains_folder: str | Path | None = None,
    overwrite: bool = False,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Writes a model folder and its domains as the server reads them, once each domain is proven.

    `model` is in evaluation mode and float32; `example` is one float32 batch of its inputs, or a tuple of its
    arguments. `folder` is named as the model: `models/night-signs`.

    `domains` gives each domain a module, a state_dict, a bank or a safetensors file; all but batch norms must be the
    model's. The first is the default, whose statistics stand in the graph. Without, the model itself is the domain
    `default`. Banks go to `domains_folder`, by default the folder `domains` beside that of the models.

    With `labels` (one for each class) it is a classifier, which needs `preprocessing` with `mean` and `std`; `task`
    may be "image-to-image", which needs `tiling`, or "tensors", the default. `domain_preprocessing` has the rules that
    differ in a domain. `output` overrides fields of the manifest's `output`.

    `free` names the axes that may vary: "batch", "height", "width", "length", "depth".

    Raises ModelRefused for what cannot be exported, ProofFailed when the module's outputs and ONNX Runtime's differ by
    more than `tolerance`, and FileExistsError without `overwrite`. Nothing is written then.
    """
    folder = Path(folder)
    beside = folder.resolve().parent.with_name("domains") if domains_folder is None else Path(domains_folder)
    require_name("model", folder.name)
    kind = task_of(task, labels)
    plain = prepared(model)
    inputs = _inputs_of(example)
    given = {"default": plain} if domains is None else domains
    default = default_domain or next(iter(given), "")
    _require_domains(given, default, [domain_preprocessing or {}, descriptions or {}])
    banks = {name: bank_from(domain, plain, name) for name, domain in given.items()}
    load_bank(plain, banks[default])
    input_of = dict(zip(_names("input", inputs, input_names), inputs, strict=True))
    output_of = _outputs_of(plain, inputs, output_names)
    manifest = manifest_of(
        name=folder.name,
        task=kind,
        title=title,
        description=description,
        licence=licence,
        inputs=input_of,
        outputs=output_of,
        labels=labels,
        preprocessing=preprocessing,
        output=output,
        tiling=tiling,
        default_domain=default,
        domains={name: _entry(name, domain_preprocessing, descriptions) for name in given},
    )
    _require_free_sizes(manifest, free)
    axes = free_axes(inputs, free, (preprocessing or {}).get("layout", "NCHW"))
    proto = export_graph(plain, inputs, axes, list(input_of), list(output_of))
    errors = _prove(proto, model if domains is None else None, given, banks, plain, probes(inputs, axes), tolerance)
    result = Exported(folder, beside, fingerprint_of(proto.graph), tuple(layers_of(proto.graph)), errors)
    _require_free_places(result, overwrite)
    _write(result, proto, manifest, labels, banks)
    return result


def _inputs_of(example: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    inputs = example if isinstance(example, tuple) else (example,)
    for tensor in inputs:
        if not isinstance(tensor, torch.Tensor) or tensor.dim() == 0 or len(tensor) == 0:
            raise ModelRefused(
                "the example must be a tensor with at least one row, or a tuple of them, one for each argument of the "
                "model: give torch.randn(1, 3, 224, 224)"
            )
        if tensor.dtype == torch.float64:
            raise ModelRefused("the example is torch.float64: give example.float()")
    return tuple(tensor.detach().cpu().contiguous() for tensor in inputs)


def _require_domains(given: Mapping[str, Domain], default: str, by_domain: Sequence[Mapping[str, object]]) -> None:
    if not given:
        raise ModelRefused('there is no domain: give domains={"day": model.state_dict()}, or leave it out')
    for name in given:
        require_name("domain", name)
    for name in [default, *(name for mapping in by_domain for name in mapping)]:
        if name not in given:
            raise ModelRefused(f'there is no domain "{name}": name one of {", ".join(given)}', name)


def _names(kind: str, tensors: Sequence[torch.Tensor], given: Sequence[str] | None) -> list[str]:
    if given is not None and (len(given) != len(tensors) or len(set(given)) != len(given)):
        raise ModelRefused(f"{kind}_names has {len(given)} names: give {len(tensors)} different ones")
    return list(given) if given else [kind] if len(tensors) == 1 else [f"{kind}_{at}" for at in range(len(tensors))]


def _outputs_of(
    plain: nn.Module, inputs: tuple[torch.Tensor, ...], names: Sequence[str] | None
) -> dict[str, torch.Tensor]:
    """What the model answers for the example, by name; the keys of a mapping are names."""
    try:
        with torch.no_grad():
            answer = plain(*inputs)
    except Exception as cause:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in inputs)
        raise ModelRefused(
            f"the model does not take the example ({shapes}): {cause}. Give an example that it takes"
        ) from cause
    tensors = flat_outputs(answer)
    own = list(answer) if isinstance(answer, Mapping) and len(answer) == len(tensors) else None
    return dict(zip(_names("output", tensors, names or own), tensors, strict=True))


def _require_free_sizes(manifest: Mapping[str, Any], free: Sequence[str]) -> None:
    usual = manifest.get("input", {}).get("size")
    for name, entry in manifest["domains"].items():
        size = entry.get("input", {}).get("size", usual)
        if size != usual and not {"height", "width"} <= set(free):
            raise ModelRefused(
                f'domain "{name}" has pictures of {size["height"]} x {size["width"]} and the graph takes one size: '
                'give free=("batch", "height", "width")',
                name,
            )


def _entry(
    name: str, preprocessing: Mapping[str, Mapping[str, Any]] | None, descriptions: Mapping[str, str] | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if descriptions and name in descriptions:
        entry["description"] = descriptions[name]
    if preprocessing and name in preprocessing:
        entry["input"] = dict(preprocessing[name])
    return entry


def _prove(
    proto: onnx.ModelProto,
    itself: nn.Module | None,
    given: Mapping[str, Domain],
    banks: Mapping[str, Bank],
    plain: nn.Module,
    cases: list[tuple[torch.Tensor, ...]],
    tolerance: float,
) -> dict[str, float]:
    """By domain. Where a module was given, the graph is compared with that one, as it came."""
    proof = GraphProof(proto, tolerance)
    errors = {}
    for name, domain in given.items():
        original = itself if itself is not None else domain if isinstance(domain, nn.Module) else None
        if original is None:
            load_bank(plain, banks[name])
        errors[name] = proof.check(
            name, banks[name], plain if original is None else copy.deepcopy(original).cpu(), cases
        )
    return errors


def _require_free_places(result: Exported, overwrite: bool) -> None:
    for place in (result.folder, result.domains_folder / result.folder.name):
        if place.exists() and not overwrite:
            raise FileExistsError(f'"{place}" is there already: give overwrite=True to replace it')


def _write(
    result: Exported,
    proto: onnx.ModelProto,
    manifest: Mapping[str, Any],
    labels: Sequence[str] | None,
    banks: Mapping[str, Bank],
) -> None:
    """Both folders are complete before either takes its place."""
    places = (result.folder, result.domains_folder / result.folder.name)
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".export-", dir=places[0].parent) as first,
        tempfile.TemporaryDirectory(prefix=".export-", dir=places[1].parent) as second,
    ):
        made = (Path(first) / "new", Path(second) / "new")
        made[0].mkdir()
        onnx.save(proto, str(made[0] / "model.onnx"))
        _write_json(made[0] / "manifest.json", manifest)
        if labels is not None:
            _write_json(made[0] / "labels.json", list(labels))
        for name, bank in banks.items():
            description = manifest["domains"][name].get("description")
            write_domain(made[1] / name, name, bank, result.layers, result.fingerprint, description)
        for new, place in zip(made, places, strict=True):
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
