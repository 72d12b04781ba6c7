"""Modules that hold a batch norm for each of several domains become one network and its banks, by structure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn

from .banks import Bank, bank_of, load_bank
from .batch_norms import STATISTICS, prepared
from .errors import ModelRefused, ProofFailed
from .exporting import TOLERANCE
from .groups import Group, candidates, require_alike
from .manifest import require_name
from .proof import distance, flat_outputs, seen_by_layers

Call = Callable[[nn.Module, int], Any]
"""Calls the module so that the domain of that number runs, and returns its outputs."""

EXAMPLES = "(x, torch.tensor([0])) for a domain label, ([x, x],) for a list, x for neither"


@dataclass(frozen=True)
class Split:
    """One network and the banks that it had inside."""

    network: nn.Module
    """Takes the input alone and runs under the statistics of the first domain; `export` takes it."""
    banks: Mapping[str, Bank]
    """By domain; `export` takes them as its `domains`."""
    selected_by: str
    """How the module was told its domain: "label", "list", "call", or "nothing" where one member runs in any case."""
    errors: Mapping[str, float]
    """By domain: the largest difference from the original module's outputs, relative to the largest."""


def split(
    model: nn.Module,
    example: object,
    *,
    domains: Sequence[str] | None = None,
    call: Call | None = None,
    tolerance: float = TOLERANCE,
) -> Split:
    """Takes a module apart, and compares every domain's outputs with the module's own.

    `example` is what the module takes, float32, a tuple where it takes several arguments: `(x, label)`, `([x, x],)`,
    `x`. Where neither a label nor a list tells the domain, member d is run in the place of the one that runs;
    `call(model, d)` may say how the module is really switched.

    Raises ModelRefused where there are no groups or they do not fit together, and ProofFailed, naming the first layer
    that sees other values, where the network and the module differ by more than `tolerance`.
    """
    original = prepared(model)
    arguments: tuple[Any, ...] = example if isinstance(example, tuple) else (example,)
    switch = _Switch(original, arguments, call)
    names = domains or switch.names
    if len(names) != switch.count or len(set(names)) != len(names):
        raise ModelRefused(f"the model has {switch.count} domains: give as many different names, not {list(names)}")
    for name in names:
        require_name("domain", name)
    network = switch.network()
    banks = {name: switch.bank(network, number) for number, name in enumerate(names)}
    errors = {}
    for number, name in enumerate(names):
        load_bank(network, banks[name])
        errors[name] = switch.compare(network, number, name, tolerance)
    load_bank(network, banks[names[0]])
    return Split(network, banks, switch.kind, errors)


class _Switch:
    """The groups of a module, which member runs, and how another one is made to."""

    def __init__(self, model: nn.Module, arguments: tuple[Any, ...], call: Call | None) -> None:
        self.model, self.arguments, self._call = model, arguments, call
        self.list_at = next((at for at, value in enumerate(arguments) if _is_list(value)), None)
        self.groups, self.running = self._observe()
        self.count = len(self.groups[0].members)
        self.names = self.groups[0].names
        inputs = [at for at, value in enumerate(arguments) if at == self.list_at or _is_input(value)]
        if len(inputs) != 1:
            raise ModelRefused(f"the example has {len(inputs)} inputs, expected one float tensor: give {EXAMPLES}")
        self.input_at = inputs[0]
        self.label_at = self._find_label()
        by_structure = "list" if self.list_at is not None else "nothing" if self.label_at is None else "label"
        self.kind = by_structure if call is None else "call"

    def _observe(self) -> tuple[list[Group], int]:
        found = list(candidates(self.model))
        called = self._called(self.arguments, found)
        groups: list[Group] = []
        running: set[int] = set()
        for group in found:
            ran = [number for number, member in enumerate(group.members) if member in called]
            is_listed = self.list_at is not None and ran == list(range(len(self.arguments[self.list_at])))
            if (is_listed and len(ran) == len(group.members)) or len(ran) == 1:
                groups.append(group)
                running.add(ran[0])
        if not groups:
            raise ModelRefused(
                "no place of the model holds several batch norms of which one runs: give bankswitch.torch.export a "
                f"state_dict for each domain, or split an example that reaches them, such as {EXAMPLES}"
            )
        require_alike(self.model, groups)
        if len(running) > 1:
            raise ModelRefused(f"members {sorted(running)} run in one call: give an example of one domain")
        return groups, running.pop()

    def _called(self, arguments: tuple[Any, ...], groups: Sequence[Group]) -> set[str]:
        members = [member for group in groups for member in group.members]
        try:
            seen = seen_by_layers(self.model, arguments, members)
        except Exception as cause:
            raise ModelRefused(f"the model does not take the example: {cause}. Give {EXAMPLES}") from cause
        return {member for member, values in seen.items() if values}

    def _find_label(self) -> int | None:
        """The argument that tells the domain: with d in its place, member d of every group runs."""
        for at, value in enumerate(self.arguments):
            if not _is_label(value):
                continue
            if all(self._selects(at, number) for number in range(self.count)):
                return at
        return None

    def _selects(self, at: int, number: int) -> bool:
        arguments = (*self.arguments[:at], self._label(self.arguments[at], number), *self.arguments[at + 1 :])
        try:
            return self._called(arguments, self.groups) == {group.members[number] for group in self.groups}
        except ModelRefused:
            return False

    def _label(self, like: object, number: int) -> object:
        if isinstance(like, torch.Tensor):
            return torch.full_like(like, number)
        if isinstance(like, str):
            return self.names[number]
        return [number] * len(like) if isinstance(like, list) else number

    def network(self) -> nn.Module:
        """A copy that takes the input alone and has one member of each group."""
        network = copy.deepcopy(self.model)
        for group in self.groups:
            for number, member in enumerate(group.members):
                if number != self.running:
                    network.set_submodule(member, nn.Identity().eval())
        fixed = list(self.arguments)
        if self.label_at is not None:
            label = self._label(self.arguments[self.label_at], self.running)
            # An exporter knows what a list holds, and may not know what a tensor holds.
            fixed[self.label_at] = label.tolist() if isinstance(label, torch.Tensor) else label
        only = _of_one_input(network, fixed, self)
        try:
            with torch.no_grad():
                only(self.input_of(self.running))
        except (TypeError, AttributeError, RuntimeError):
            if self.label_at is None:
                raise
            fixed[self.label_at] = self._label(self.arguments[self.label_at], self.running)
        return only

    def input_of(self, number: int) -> torch.Tensor:
        """What the network is given in the place of the module's arguments."""
        value = self.arguments[self.input_at]
        chosen: torch.Tensor = value[number] if self.input_at == self.list_at else value
        return chosen

    def bank(self, network: nn.Module, number: int) -> Bank:
        """The member's statistics under the keys of the one that runs; batch norms outside groups are shared."""
        bank = bank_of(network)
        every = bank_of(self.model)
        for group in self.groups:
            for name in STATISTICS:
                bank[f"{group.members[self.running]}.{name}"] = every[f"{group.members[number]}.{name}"]
        return bank

    def original_outputs(self, number: int) -> list[torch.Tensor]:
        """What the module itself answers under a domain."""
        if self._call is not None:
            return flat_outputs(self._call(self.model, number))
        if self.list_at is not None:
            return flat_outputs(_at(self.model(*self.arguments), number))
        if self.label_at is not None:
            label = self._label(self.arguments[self.label_at], number)
            arguments = [*self.arguments]
            arguments[self.label_at] = label
            return flat_outputs(_without(self.model(*arguments), label))
        return self._with_member(number)

    def _with_member(self, number: int) -> list[torch.Tensor]:
        def instead(member: nn.Module) -> Callable[..., torch.Tensor]:
            def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> torch.Tensor:
                answer: torch.Tensor = member(inputs[0])
                return answer

            return hook

        handles = [
            self.model.get_submodule(group.members[self.running]).register_forward_hook(
                instead(self.model.get_submodule(group.members[number]))
            )
            for group in self.groups
            if number != self.running
        ]
        try:
            return flat_outputs(self.model(*self.arguments))
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def compare(self, network: nn.Module, number: int, name: str, tolerance: float) -> float:
        """The largest distance between the two. Raises ProofFailed."""
        x = self.input_of(number)
        expected = self.original_outputs(number)
        actual = flat_outputs(network(x))
        if len(actual) != len(expected):
            raise ProofFailed(f'domain "{name}": the model has {len(expected)} outputs, the network {len(actual)}')
        error = max(distance(a.numpy(), e.numpy()) for a, e in zip(actual, expected, strict=True))
        if error <= tolerance:
            return error
        members = {group.members[self.running]: group.members[number] for group in self.groups}
        layers = list(members)
        ours = seen_by_layers(network, (x,), layers)
        theirs = seen_by_layers(self.model, (), list(members.values()), lambda: self.original_outputs(number))
        differing = (
            layer
            for layer in layers
            if ours[layer]
            and theirs[members[layer]]
            and distance(ours[layer][0], theirs[members[layer]][0]) > tolerance
        )
        layer = next(differing, None)
        where = "behind its last batch norm" if layer is None else f'before layer "{layer}"'
        raise ProofFailed(
            f'domain "{name}" differs from the module by {error:.3g}, first {where}: what lies there belongs to a '
            "domain too, so export each domain as a model of its own",
            layer,
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(item, torch.Tensor) for item in value)


def _is_input(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_label(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point()
    if isinstance(value, list):
        return all(isinstance(item, int) for item in value)
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _of_one_input(network: nn.Module, fixed: Sequence[object], switch: _Switch) -> nn.Module:
    """Gives `network` a forward of the input alone, and keeps its paths as they are."""
    base = type(network)
    input_at, label_at, list_at, running = switch.input_at, switch.label_at, switch.list_at, switch.running
    count = switch.count

    class OneDomain(base):  # type: ignore[misc, valid-type]
        """The network under one domain."""

        def forward(self, x: torch.Tensor) -> Any:  # noqa: ANN401
            """Whatever the module returns, without what belongs to other domains."""
            arguments = list(fixed)
            arguments[input_at] = [x] * count if list_at is not None else x
            outputs = super().forward(*arguments)
            if list_at is not None:
                return _at(outputs, running)
            return outputs if label_at is None else _without(outputs, arguments[label_at])

    OneDomain.__name__ = base.__name__
    network.__class__ = OneDomain
    return network


def _at(outputs: object, number: int) -> Any:  # noqa: ANN401
    """What a module that takes a list answers for one of its elements."""
    if isinstance(outputs, (list, tuple)) and len(outputs) > number:
        return outputs[number]
    raise ModelRefused("the model takes a list and returns none: give call=lambda model, d: …, which picks domain d's")


def _without(outputs: Any, label: object) -> Any:  # noqa: ANN401
    """Outputs but the label, which such modules hand on."""
    if not isinstance(outputs, (list, tuple)):
        return outputs
    kept = [output for output in outputs if output is not label]
    return kept[0] if len(kept) == 1 else tuple(kept)
