"""Banks as PyTorch names them: `<layer>.running_mean`, `.running_var`, `.weight` and `.bias`, float32 of shape [C]."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file

from .batch_norms import STATISTICS, batch_norms, prepared
from .errors import ModelRefused

Bank = dict[str, torch.Tensor]

Domain: TypeAlias = "nn.Module | Mapping[str, torch.Tensor] | str | Path"
"""Where a bank comes from: a module, its state_dict, a bank, or a safetensors file with one of the last two."""

_COUNTER = "num_batches_tracked"

_WRAPPERS = ("module.", "model.", "_orig_mod.", "backbone.")


def bank_of(model: nn.Module) -> Bank:
    """The four statistics of every batch norm of a prepared model, copied."""
    return {
        f"{path}.{name}": getattr(module, name).detach().float().clone().contiguous()
        for path, module in batch_norms(model).items()
        for name in STATISTICS
    }


@torch.no_grad()
def load_bank(model: nn.Module, bank: Mapping[str, torch.Tensor]) -> None:
    """Writes the bank into the batch norms of a prepared model."""
    for path, module in batch_norms(model).items():
        for name in STATISTICS:
            getattr(module, name).copy_(bank[f"{path}.{name}"])


def save_bank(bank: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """A safetensors file that `PUT /admin/models/{model}/domains/{domain}` and `bankswitch register` take."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().float().cpu().contiguous() for name, tensor in bank.items()}, str(path))
    path.chmod(0o644)


def bank_from(given: Domain, model: nn.Module, domain: str) -> Bank:
    """The bank of a domain for a prepared model, complete. Gamma and beta that are not given are the model's.

    Raises ModelRefused, naming the parameter, when anything but the batch norms differs from the model: other
    convolution weights, other epsilons, keys that are missing or unknown, lengths, values that are not finite.
    """
    if isinstance(given, nn.Module):
        try:
            other = prepared(given)
        except ModelRefused as cause:
            raise ModelRefused(f'domain "{domain}": {cause}', cause.subject) from cause
        _require_same_epsilons(other, model, domain)
        state: Mapping[str, torch.Tensor] = other.state_dict()
    elif isinstance(given, (str, Path)):
        state = load_file(str(given))
    elif isinstance(given, Mapping):
        state = given
    else:
        raise ModelRefused(
            f'domain "{domain}" is {type(given).__name__}: give a module, a state_dict or a path of a safetensors file'
        )
    own = model.state_dict()
    state = _unwrapped({key: value for key, value in state.items() if not key.endswith(_COUNTER)}, own)
    statistics = bank_of(model)
    _require_same_network(state, own, statistics, domain)
    return {key: _checked(key, state, value, domain) for key, value in statistics.items()}


def _require_same_epsilons(other: nn.Module, model: nn.Module, domain: str) -> None:
    theirs = batch_norms(other)
    for path, module in batch_norms(model).items():
        if path in theirs and theirs[path].eps != module.eps:
            raise ModelRefused(
                f'"{path}".eps is {theirs[path].eps} in domain "{domain}" and {module.eps} in the model: a bank has no '
                "epsilon, so build both with the same",
                path,
            )


def _unwrapped(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the prefixes of wrappers that the model itself does not have."""
    result = dict(state)
    while result and not any(key in own for key in result):
        prefix = next((prefix for prefix in _WRAPPERS if all(key.startswith(prefix) for key in result)), None)
        if prefix is None:
            break
        result = {key[len(prefix) :]: value for key, value in result.items()}
    return result


def _require_same_network(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], statistics: Bank, domain: str
) -> None:
    for key in state:
        if key in own:
            continue
        near = difflib.get_close_matches(key, own, 1)
        hint = f'; the model has "{near[0]}"' if near else ""
        raise ModelRefused(
            f'the state_dict of domain "{domain}" has "{key}", which the model has not{hint}: rename its keys to those '
            "of model.state_dict()",
            key,
        )
    shared = [key for key in own if key not in statistics and not key.endswith(_COUNTER)]
    is_whole = any(key in state for key in shared)
    for key in shared if is_whole else []:
        if key not in state:
            raise ModelRefused(
                f'the state_dict of domain "{domain}" lacks "{key}": give all of model.state_dict(), or its '
                "batch norms alone",
                key,
            )
        if state[key].shape != own[key].shape:
            raise ModelRefused(
                f'"{key}" has shape {list(state[key].shape)} in domain "{domain}" and {list(own[key].shape)} in the '
                "model: give a state_dict of the same network",
                key,
            )
        if not torch.equal(state[key].cpu(), own[key]):
            raise ModelRefused(
                f'"{key}" differs between domain "{domain}" and the model, and only batch norms may: freeze everything '
                "else when training a domain (train_bank does), or serve it as a model of its own",
                key,
            )


def _checked(key: str, state: Mapping[str, torch.Tensor], own: torch.Tensor, domain: str) -> torch.Tensor:
    value = state.get(key)
    if value is None:
        if key.endswith((".weight", ".bias")):
            return own
        raise ModelRefused(
            f'the state_dict of domain "{domain}" lacks "{key}": give running_mean and running_var of every batch norm',
            key,
        )
    value = value.detach().cpu().float().clone().contiguous()
    if value.shape != own.shape:
        raise ModelRefused(
            f'"{key}" has shape {list(value.shape)} in domain "{domain}" and {list(own.shape)} in the model: give a '
            "state_dict of the same network",
            key,
        )
    if not torch.isfinite(value).all() or (key.endswith(".running_var") and (value < 0).any()):
        raise ModelRefused(
            f'"{key}" of domain "{domain}" has values that no bank may hold, NaN, infinite or a variance below 0: '
            'estimate its statistics again (bankswitch.torch.train_bank with parameters="statistics")',
            key,
        )
    return value
