"""The training loop that all recipes share: one trunk, one batch of every domain per step, gradients added up."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn as nn

from nets import select

# Draws a batch of a domain and computes its loss.
Loss = Callable[[str, torch.Generator], torch.Tensor]


def fit(
    model: nn.Module,
    domains: tuple[str, ...],
    loss_of: Loss,
    optimizer: torch.optim.Optimizer,
    peak_rate: float,
    steps: int,
    generator: torch.Generator,
) -> None:
    """One-cycle learning rate (Smith 2018); prints the mean loss every hundred steps."""
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=steps)
    begin = time.time()
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        total = 0.0
        for domain in domains:
            select(model, domain)
            loss = loss_of(domain, generator)
            loss.backward()
            total += loss.item()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}/{steps} loss {total / len(domains):.4f} {time.time() - begin:.0f} s", flush=True)
    model.eval()
