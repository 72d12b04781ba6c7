"""split: one small module of each kind, every domain equal to the original module."""

# PyTorch is typed in part.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type, assignment, call-overload, import-untyped"

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn

from bankswitch.torch import ModelRefused, ProofFailed, Split, export, load_bank, split
from small_nets import Classifier, LabelledNet, LayersInAList, ParallelNet, SwitchableNet, optional, randomised

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def split_bn(seed: int = 0) -> nn.Module:
    """timm's own SplitBatchNorm2d, two further batch norms beside each."""
    timm = optional("timm")
    return randomised(timm.layers.convert_splitbn_model(Classifier(), num_splits=3), seed)


def set_width(model: nn.Module, width: int) -> nn.Module:
    return model.apply(lambda module: setattr(module, "width", width))


def outputs_by_domain(found: Split, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    outputs = []
    for bank, x in zip(found.banks.values(), inputs, strict=True):
        load_bank(found.network, bank)
        outputs.append(found.network(x))
    return outputs


def assert_exports(found: Split, x: torch.Tensor, folder: Path) -> None:
    """The network and its banks are what export takes, and the graph holds one batch norm a place."""
    made = export(found.network, x, folder / "models" / "net", domains=found.banks)
    assert max(made.errors.values()) < 1e-5
    assert {f"{layer}.running_mean" for layer in made.layers} == {
        key for key in next(iter(found.banks.values())) if key.endswith("running_mean")
    }


def test_by_a_label(tmp_path: Path) -> None:
    model = randomised(LabelledNet())
    found = split(model, (X, torch.tensor([0, 0])), domains=["a", "b", "c"])
    assert found.selected_by == "label" and list(found.banks) == ["a", "b", "c"]
    for number, output in enumerate(outputs_by_domain(found, [X] * 3)):
        expected, _ = model(X, torch.tensor([number, number]))
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    assert max(found.errors.values()) < 1e-5
    assert_exports(found, X, tmp_path)


def test_by_the_place_in_a_list(tmp_path: Path) -> None:
    model = randomised(ParallelNet())
    sizes = [torch.randn(2, 3, side, side) for side in (16, 12, 8)]
    found = split(model, (sizes,))
    assert found.selected_by == "list" and list(found.banks) == ["domain0", "domain1", "domain2"]
    for output, expected in zip(outputs_by_domain(found, sizes), model(sizes), strict=False):
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    assert_exports(found, X, tmp_path)


def test_further_batch_norms_that_evaluation_never_runs(tmp_path: Path) -> None:
    model = split_bn()
    found = split(model, X)
    assert found.selected_by == "nothing" and list(found.banks) == ["main", "aux0", "aux1"]
    main, first, second = outputs_by_domain(found, [X] * 3)
    torch.testing.assert_close(main, model(X), atol=1e-5, rtol=0)
    plain = Classifier().eval()
    state = model.state_dict()
    for number, output in enumerate((first, second)):
        mark = f".aux_bn.{number}."
        plain.load_state_dict(
            {
                **{key: value for key, value in state.items() if ".aux_bn." not in key},
                **{key.replace(mark, "."): value for key, value in state.items() if mark in key},
            }
        )
        torch.testing.assert_close(output, plain(X), atol=1e-5, rtol=0)
    assert_exports(found, X, tmp_path)


@pytest.mark.parametrize("is_called", [False, True], ids=["by structure", "by its own switch"])
def test_by_an_attribute(is_called: bool, tmp_path: Path) -> None:
    model = randomised(SwitchableNet())
    call: Any = (lambda module, width: set_width(module, width)(X)) if is_called else None
    found = split(model, X, call=call)
    assert found.selected_by == ("call" if is_called else "nothing")
    for width, output in enumerate(outputs_by_domain(found, [X] * 2)):
        torch.testing.assert_close(output, set_width(model, width)(X), atol=1e-5, rtol=0)
    assert_exports(found, X, tmp_path)


def test_names_of_a_mapping_are_names_of_domains() -> None:
    class Banked(nn.Module):
        """As in training/nets.py."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.banks = nn.ModuleDict({"day": nn.BatchNorm2d(4), "fog": nn.BatchNorm2d(4)})
            self.domain = "fog"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.banks[self.domain](self.conv(x))

    model = randomised(Banked())
    found = split(model, X)
    fog, day = outputs_by_domain(found, [X] * 2)[1], outputs_by_domain(found, [X] * 2)[0]
    torch.testing.assert_close(fog, model(X), atol=1e-5, rtol=0)
    model.domain = "day"
    torch.testing.assert_close(day, model(X), atol=1e-5, rtol=0)


def test_more_than_batch_norms_differs_between_domains() -> None:
    class Scaled(LabelledNet):
        """A convolution's output is scaled by the label: no bank can hold that."""

        def forward(self, x: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return super().forward(x * (1 + label[0]), label)

    with pytest.raises(
        ProofFailed, match=r'domain "domain1" differs from the module by .*first before layer "block1\.bn\.bns\.0"'
    ) as failed:
        split(randomised(Scaled()), (X, torch.tensor([0, 0])))
    assert failed.value.subject == "block1.bn.bns.0"


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (randomised(LayersInAList()), X, "no place of the model holds several batch norms of which one runs"),
        (randomised(Classifier()), X, "no place of the model holds several batch norms"),
        (
            randomised(SwitchableNet((8, 4))),
            X,
            '"bn1.bn.0" has 8 channels and "bn1.bn.1" 4: a network of several widths',
        ),
        (randomised(LabelledNet()), X, r"does not take the example: .*\(x, torch.tensor\(\[0\]\)\) for a domain label"),
        (LabelledNet(), (X, torch.tensor([0])), r"training mode: call model\.eval\(\)"),
    ],
    ids=["layers", "plain", "widths", "example", "training"],
)
def test_refusals(model: nn.Module, example: Any, message: str) -> None:
    with pytest.raises(ModelRefused, match=message):
        split(model, example)


def test_names_must_be_as_many_as_domains() -> None:
    with pytest.raises(ModelRefused, match="the model has 3 domains: give as many different names"):
        split(split_bn(), X, domains=["a", "b"])
