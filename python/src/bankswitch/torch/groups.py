"""Groups: places of a module where several batch norms stand side by side and one of them runs. By structure they are

  1. a ModuleList or ModuleDict of batch norms (`bns.{d}` of DSBN, `bn.{i}` of slimmable networks)
  2. children of one module that are numbered from 0 (`bn_{i}` of RS-Net)
  3. a batch norm and a list of further ones in it (`aux_bn.{i}` of timm's SplitBatchNorm2d, whose evaluation mode
     runs the first alone)

Refused: batch norms of several channel counts or epsilons in one group, and groups of several sizes. Batch norms that
all run one after another are layers, and no group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn as nn

from .batch_norms import BatchNorm, batch_norms
from .errors import ModelRefused

_NUMBERED = re.compile(r"(.*\D)(\d+)")


@dataclass(frozen=True)
class Group:
    """Module paths of the batch norms of one place, in the order of domains, and what the module calls these."""

    members: tuple[str, ...]
    names: tuple[str, ...]


def candidates(model: nn.Module) -> Iterator[Group]:
    """Every place that may be a group; whether one of its members runs, a call of the module tells."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        is_batch_norm = isinstance(module, BatchNorm)
        numbered: dict[str, dict[int, str]] = {}
        for name, child in module.named_children():
            if isinstance(child, (nn.ModuleList, nn.ModuleDict)) and _all_batch_norms(child):
                members = tuple(f"{prefix}{name}.{key}" for key, _ in child.named_children())
                if is_batch_norm:
                    yield Group((path, *members), ("main", *(f"aux{at}" for at in range(len(members)))))
                elif len(members) > 1:
                    keys = tuple(key for key, _ in child.named_children())
                    yield Group(members, keys if isinstance(child, nn.ModuleDict) else _numbered(len(members)))
            match = _NUMBERED.fullmatch(name)
            if isinstance(child, BatchNorm) and match is not None:
                numbered.setdefault(match[1], {})[int(match[2])] = f"{prefix}{name}"
        for siblings in numbered.values():
            if len(siblings) > 1 and sorted(siblings) == list(range(len(siblings))):
                yield Group(tuple(siblings[at] for at in sorted(siblings)), _numbered(len(siblings)))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"domain{at}" for at in range(count))


def _all_batch_norms(container: nn.Module) -> bool:
    children = list(container.children())
    return len(children) > 0 and all(isinstance(child, BatchNorm) for child in children)


def require_alike(model: nn.Module, groups: Sequence[Group]) -> None:
    """Raises ModelRefused where groups are no choice between banks of one network."""
    layers = batch_norms(model)
    first = groups[0]
    for group in groups:
        if len(group.members) != len(first.members):
            raise ModelRefused(
                f'"{first.members[0]}" stands beside {len(first.members)} batch norms and "{group.members[0]}" beside '
                f"{len(group.members)}: every place must have one for each domain",
                group.members[0],
            )
        for member in group.members:
            one, other = layers[group.members[0]], layers[member]
            if one.num_features != other.num_features:
                raise ModelRefused(
                    f'"{group.members[0]}" has {one.num_features} channels and "{member}" {other.num_features}: a '
                    "network of several widths has other convolutions in each; export each width as a model of its own",
                    member,
                )
            if one.eps != other.eps:
                raise ModelRefused(
                    f'"{group.members[0]}".eps is {one.eps} and "{member}".eps {other.eps}: a bank has no epsilon, so '
                    "build them with the same",
                    member,
                )
