"""What counts as equal."""

from __future__ import annotations

import numpy as np
import pytest

from bankswitch.torch.proof import distance

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("actual", "expected", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.1, 0.2], [0.1, 0.21], 0.01 / 0.21),
        ([1e-6], [0.0], 1e-4),
        ([1.0, INF], [1.5, INF], 0.5 / 1.5),
        ([1.0, NAN], [1.0, NAN], 0.0),
        ([1.0, -INF], [1.0, INF], INF),
        ([1.0, NAN], [1.0, 1.0], INF),
        ([1.0, 1.0], [1.0, NAN], INF),
        ([1.0], [1.0, 1.0], INF),
        ([], [], 0.0),
        ([1], [3], 2 / 3),
    ],
)
def test_distance(actual: list[float], expected: list[float], apart: float) -> None:
    assert distance(np.array(actual), np.array(expected)) == pytest.approx(apart)
