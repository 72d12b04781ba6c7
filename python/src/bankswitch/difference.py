"""How far two banks of one network lie apart, layer by layer; the same figures as those of `bankswitch diff`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankswitch.banks import Bank
from bankswitch.errors import InvalidCall

#: Added to every variance, as PyTorch's batch norm does: a dead channel is then near its like, not infinitely far.
_EPSILON = 1e-5


@dataclass(frozen=True)
class LayerDifference:
    """How far the statistics of one layer lie apart."""

    layer: str
    channels: int
    #: Root mean square over channels of the distance of means in standard deviations, of the mean variance of both.
    mean_shift: float
    #: Geometric mean over channels of B's standard deviation over A's.
    deviation_ratio: float
    #: Mean over channels of the Bhattacharyya distance of the two normal distributions; 0 is equal.
    distance: float
    #: The channel with the largest distance.
    worst_channel: int
    #: Root mean square of the differences of gamma and beta, where both banks have them.
    gamma_shift: float | None
    beta_shift: float | None


def bank_difference(a: Bank, b: Bank) -> list[LayerDifference]:
    """In the order of `a`. Raises InvalidCall for other layers or lengths, and for values that no bank may hold."""
    if not a:
        raise InvalidCall("the first bank has no layers")
    for layer in sorted(a.keys() ^ b.keys()):
        raise InvalidCall(f'only the {"first" if layer in a else "second"} bank has the layer "{layer}"')
    return [_layer_difference(layer, a[layer], b[layer]) for layer in a]


def _layer_difference(layer: str, a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> LayerDifference:
    mean_a, mean_b = _values(layer, a, "mean"), _values(layer, b, "mean")
    variance_a, variance_b = _values(layer, a, "variance"), _values(layer, b, "variance")
    lengths = [len(values) for values in (mean_a, mean_b, variance_a, variance_b)]
    if lengths[0] == 0 or len(set(lengths)) > 1:
        raise InvalidCall(f'layer "{layer}" has arrays of different lengths: {lengths}')
    p, q = variance_a + _EPSILON, variance_b + _EPSILON
    squares = (mean_a - mean_b) ** 2
    distances = squares / (4 * (p + q)) + np.log((p + q) / (2 * np.sqrt(p * q))) / 2
    return LayerDifference(
        layer=layer,
        channels=lengths[0],
        mean_shift=float(np.sqrt(np.mean(squares / ((p + q) / 2)))),
        deviation_ratio=float(np.exp(np.mean(np.log(q / p) / 2))),
        distance=max(0.0, float(np.mean(distances))),
        worst_channel=int(np.argmax(distances)),
        gamma_shift=_root_mean_square(a.get("gamma"), b.get("gamma")),
        beta_shift=_root_mean_square(a.get("beta"), b.get("beta")),
    )


def _values(layer: str, statistics: dict[str, NDArray[Any]], statistic: str) -> NDArray[np.float64]:
    values = statistics.get(statistic)
    if values is None:
        raise InvalidCall(f'layer "{layer}" has no {statistic}')
    numbers = np.asarray(values, np.float64).reshape(-1)
    wrong = ~np.isfinite(numbers) | (numbers < 0 if statistic == "variance" else False)
    if wrong.any():
        channel = int(np.argmax(wrong))
        raise InvalidCall(f'{statistic} of layer "{layer}" is {numbers[channel]} in channel {channel}')
    return numbers


def _root_mean_square(a: NDArray[Any] | None, b: NDArray[Any] | None) -> float | None:
    if a is None or b is None or a.shape != b.shape or a.size == 0:
        return None
    return float(np.sqrt(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)))
