"""Banks from few labelled pictures: gamma and beta by gradient, statistics over all pictures, convolutions frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from .banks import Bank, Domain, bank_from, bank_of, load_bank, save_bank
from .batch_norms import BatchNorm, batch_norms, prepared
from .errors import ModelRefused

PARAMETERS = ("affine", "statistics", "both")

Loss = Callable[[Any, Any], torch.Tensor]
"""Of the model's outputs and a batch's targets: a scalar."""

PASSES_MAX = 8
"""Over the pictures when statistics are estimated; a layer is settled once those before it are."""

SETTLED = 1e-3
"""Change of means and deviations between two passes, in deviations, below which no further pass is made."""


def train_bank(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    base: Domain | None = None,
    parameters: str = "both",
    epochs: int = 40,
    learning_rate: float = 0.01,
    loss: Loss = F.cross_entropy,
    statistics_loader: Iterable[Any] | None = None,
    seed: int = 0,
    file: str | Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Bank:
    """A bank for the domain that `loader` shows; nothing but batch norms is changed, and not those of `model`.

    `loader` gives batches `(inputs, targets)`, inputs float32 as the network takes them, and can be gone through many
    times: a DataLoader or a list. `base` is the bank to begin with, the model's own where none is given.

    `parameters`: "statistics" estimates means and variances only, and needs no targets; "affine" trains gamma and beta
    under the statistics of `base`; "both" trains them under those of each batch and estimates the statistics anew at
    the end, from `statistics_loader` where one is given (the same pictures without augmentation).

    Runs on the CPU: Adam with a learning rate that falls along a cosine. Random draws of `loader` from torch's own
    generator depend on `seed` alone. `progress(epoch, mean loss)` is called after every epoch. `file` is a safetensors
    file to register.

    Raises ModelRefused for a module or base that cannot be used, and for a loader that is empty or can be gone through
    once only.
    """
    if parameters not in PARAMETERS:
        raise ModelRefused(f'parameters is "{parameters}": expected one of {", ".join(PARAMETERS)}')
    for given in (loader, statistics_loader):
        if isinstance(given, Iterator):
            raise ModelRefused("the loader can be gone through once only: give a DataLoader, or list(loader)")
    network = prepared(model)
    if base is not None:
        load_bank(network, bank_from(base, network, "base"))
    with torch.random.fork_rng(devices=[]):
        if parameters != "statistics":
            torch.manual_seed(seed)
            _train_affine(network, loader, parameters == "both", epochs, learning_rate, loss, progress)
        if parameters != "affine":
            _estimate_statistics(network, statistics_loader or loader, seed)
    bank = bank_of(network)
    if file is not None:
        save_bank(bank, file)
    return bank


def _train_affine(
    network: nn.Module,
    loader: Iterable[Any],
    by_batch: bool,
    epochs: int,
    learning_rate: float,
    loss: Loss,
    progress: Callable[[int, float], None] | None,
) -> None:
    """Gamma and beta, normalising with each batch's statistics or with the fixed ones. Edits `network` in place."""
    layers = batch_norms(network).values()
    trained = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(epochs, 1))
    _use_batches(layers, by_batch)
    for epoch in range(epochs):
        total, batches = 0.0, 0
        for batch in loader:
            inputs, targets = _pair(batch)
            optimizer.zero_grad()
            value = loss(network(inputs), targets)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, batches = total + value.item(), batches + 1
        if batches == 0:
            raise ModelRefused("the loader is empty: give at least one batch (inputs, targets)")
        schedule.step()
        if progress is not None:
            progress(epoch, total / batches)
    _use_batches(layers, False)
    for parameter in trained:
        parameter.requires_grad_(False)


def _use_batches(layers: Iterable[BatchNorm], by_batch: bool) -> None:
    """Whether layers normalise with the statistics of each batch; their own stay as they are."""
    for layer in layers:
        layer.train(by_batch)
        layer.momentum = 0.0


@dataclass
class _Moments:
    """Mean and sum of squared deviations per channel, float64 of shape [C], merged by Chan's formula."""

    count: int = 0
    mean: torch.Tensor | None = None
    squares: torch.Tensor | None = None

    def add(self, x: torch.Tensor) -> None:
        """`x` is [N, C, ...]; every number of a channel weighs the same."""
        values = x.detach().double().transpose(0, 1).flatten(1)
        count, mean = values.shape[1], values.mean(1)
        squares = (values - mean[:, None]).square().sum(1)
        if self.mean is not None and self.squares is not None:
            apart = mean - self.mean
            total = self.count + count
            squares += self.squares + apart.square() * (self.count * count / total)
            mean = self.mean + apart * (count / total)
        self.count, self.mean, self.squares = self.count + count, mean, squares


@torch.no_grad()
def _estimate_statistics(network: nn.Module, loader: Iterable[Any], seed: int) -> None:
    """Population statistics of what each layer sees once those before it are settled. Edits `network` in place.

    The first pass normalises by batch, as in training; each further one with the statistics of the one before, after
    which one more layer is exact (Li et al. 2016); it ends when they change no more.
    """
    layers = batch_norms(network)
    for number in range(PASSES_MAX):
        # The same augmentations in every pass, or statistics would never settle.
        torch.manual_seed(seed)
        _use_batches(layers.values(), number == 0)
        moments = _observed(network, layers, loader)
        _use_batches(layers.values(), False)
        change = max(_settle(layers[path], seen) for path, seen in moments.items())
        if number > 0 and change < SETTLED:
            return


def _observed(network: nn.Module, layers: dict[str, BatchNorm], loader: Iterable[Any]) -> dict[str, _Moments]:
    """Of each layer that runs, what it normalises."""
    moments: dict[str, _Moments] = {}

    def watch(path: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            moments.setdefault(path, _Moments()).add(inputs[0])

        return hook

    handles = [layer.register_forward_pre_hook(watch(path)) for path, layer in layers.items()]
    try:
        for batch in loader:
            network(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for handle in handles:
            handle.remove()
    if not moments:
        raise ModelRefused("the loader is empty: give at least one batch (inputs, targets)")
    return moments


def _settle(layer: BatchNorm, seen: _Moments) -> float:
    """Takes the moments over; how far they lie from what was there, in deviations."""
    assert seen.mean is not None and seen.squares is not None
    assert layer.running_mean is not None and layer.running_var is not None
    variance = seen.squares / seen.count
    deviation = (variance + layer.eps).sqrt()
    apart = (
        torch.stack(
            [
                (seen.mean - layer.running_mean.double()).abs(),
                (deviation - (layer.running_var.double() + layer.eps).sqrt()).abs(),
            ]
        )
        / deviation
    )
    layer.running_mean.copy_(seen.mean)
    layer.running_var.copy_(variance)
    return float(apart.max())


def _pair(batch: object) -> tuple[torch.Tensor, Any]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[0], torch.Tensor):
        return batch[0], batch[1]
    raise ModelRefused(
        f'a batch is {type(batch).__name__}, expected (inputs, targets): give both, or parameters="statistics", which '
        "needs no targets"
    )
