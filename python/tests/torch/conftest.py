"""What the tests of bankswitch.torch share: one thread, small networks, a server where the service is built."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]

MISSING = [name for name in ("torch", "onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_report_header() -> list[str]:
    """Says why there are no tests, where there are none."""
    return [f"tests of bankswitch.torch are passed over without {', '.join(MISSING)}"] if MISSING else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """PyTorch's exporter warns of its own deprecations, which are not ours to mend."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Weights are drawn anew in every test, the same in every run, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def main_js() -> Path:
    """The built service; the test is passed over where there is none."""
    path = ROOT / "dist" / "main.js"
    if shutil.which("node") is None or not path.exists():
        pytest.skip("needs node, and the service built by npm run build")
    return path
