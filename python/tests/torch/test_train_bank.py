"""train_bank: what it changes and what it leaves, exact statistics, seeds, and that it learns."""

# PyTorch is typed in part.
# mypy: disable-error-code="no-any-return, no-untyped-call, arg-type, assignment, call-overload, import-untyped"

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from bankswitch.torch import ModelRefused, load_bank, train_bank
from small_nets import Classifier, randomised, with_statistics_of

GENERATOR = torch.Generator().manual_seed(3)
IMAGES = 4 + 0.1 * torch.randn(40, 3, 12, 12, generator=GENERATOR) * torch.linspace(0.2, 3, 40)[:, None, None, None]
BATCHES = [(images, torch.arange(len(images)) % 5) for images in IMAGES.split(16)]


def population(network: nn.Module, path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of what a layer normalises when all images run at once, in float64."""
    exact = copy.deepcopy(network).double()
    seen: list[torch.Tensor] = []
    exact.get_submodule(path).register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    exact(IMAGES.double())
    values = seen[0].transpose(0, 1).flatten(1)
    return values.mean(1), values.var(1, unbiased=False)


def test_statistics_are_those_of_the_population_layer_by_layer() -> None:
    model = randomised(Classifier())
    bank = train_bank(model, [images for images, _ in BATCHES], parameters="statistics")
    settled = copy.deepcopy(model)
    load_bank(settled, bank)
    for path in ("bn1", "bn_left", "bn_right"):
        mean, variance = population(settled, path)
        torch.testing.assert_close(bank[f"{path}.running_mean"].double(), mean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(bank[f"{path}.running_var"].double(), variance, atol=1e-5, rtol=1e-3)
        assert torch.equal(bank[f"{path}.weight"], model.get_submodule(path).weight)


def test_statistics_survive_a_mean_far_above_the_spread() -> None:
    values = 1e4 + torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    bank = train_bank(nn.Sequential(nn.BatchNorm2d(2)).eval(), list(values.split(8)), parameters="statistics")
    expected = values.double().transpose(0, 1).flatten(1).var(1, unbiased=False)
    torch.testing.assert_close(bank["0.running_var"].double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [
        ("affine", {"weight", "bias"}),
        ("statistics", {"running_mean", "running_var"}),
        ("both", {"weight", "bias", "running_mean", "running_var"}),
    ],
)
def test_what_is_trained_and_what_stays(parameters: str, changed: set[str]) -> None:
    model = randomised(Classifier())
    before = copy.deepcopy(model.state_dict())
    bank = train_bank(model, BATCHES, parameters=parameters, epochs=2)
    differing = {key.rpartition(".")[2] for key, value in bank.items() if not torch.equal(value, before[key])}
    assert differing == changed
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training and all(parameter.grad is None for parameter in model.parameters())


def test_it_learns_and_reports() -> None:
    model = randomised(Classifier())
    losses: list[float] = []
    targets = torch.arange(60) % 2
    images = torch.randn(60, 3, 12, 12) + targets[:, None, None, None]
    loader = list(zip(images.split(20), targets.split(20), strict=True))
    bank = train_bank(model, loader, epochs=30, learning_rate=0.05, progress=lambda _epoch, loss: losses.append(loss))
    trained = copy.deepcopy(model)
    load_bank(trained, bank)
    assert len(losses) == 30 and losses[-1] < 0.5 * losses[0]
    assert F.cross_entropy(trained(images), targets) < 0.5 * F.cross_entropy(model(images), targets)


def test_the_seed_decides_and_nothing_else() -> None:
    dataset = torch.utils.data.TensorDataset(IMAGES, torch.arange(40) % 5)
    loader = torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True)
    model = randomised(Classifier())
    torch.manual_seed(1)
    first = train_bank(model, loader, epochs=3, seed=4)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    second, third = train_bank(model, loader, epochs=3, seed=4), train_bank(model, loader, epochs=3, seed=5)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], third[key]) for key in first)
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_base_and_file(tmp_path: Path) -> None:
    model = randomised(Classifier())
    base = with_statistics_of(model, 5)
    bank = train_bank(
        model, BATCHES, base=base.state_dict(), parameters="affine", epochs=0, file=tmp_path / "x.safetensors"
    )
    assert torch.equal(bank["bn1.running_mean"], base.bn1.running_mean)
    assert all(torch.equal(value, bank[key]) for key, value in load_file(str(tmp_path / "x.safetensors")).items())
    other = dict(base.state_dict())
    other["conv1.weight"] = other["conv1.weight"] + 1
    with pytest.raises(ModelRefused, match=r'"conv1\.weight" differs between domain "base" and the model'):
        train_bank(model, BATCHES, base=other)


def test_refusals() -> None:
    model = randomised(Classifier())
    with pytest.raises(ModelRefused, match="expected one of affine, statistics, both"):
        train_bank(model, BATCHES, parameters="gamma")
    with pytest.raises(ModelRefused, match=r"once only: give a DataLoader, or list\(loader\)"):
        train_bank(model, iter(BATCHES))
    with pytest.raises(ModelRefused, match="the loader is empty"):
        train_bank(model, [], parameters="statistics")
    with pytest.raises(ModelRefused, match="the loader is empty"):
        train_bank(model, [], parameters="affine")
    with pytest.raises(ModelRefused, match=r"a batch is Tensor, expected \(inputs, targets\)"):
        train_bank(model, [IMAGES])
