"""Prints the PSNR matrix of models/sr-x2 from a running server: every degradation under every bank.

    python pictures_over_http.py --data sr --url http://127.0.0.1:8080

sends each degraded test picture as PNG to /v1/models/sr-x2/predict, compares the PNG that comes back with the sharp
picture, and prints beside it what PyTorch computed (provenance.json) and the largest difference. Exits with 1 when a
bank is not the best for its own degradation, or when a figure differs by more than --tolerance dB.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

import degradations
from degradations import DEGRADATIONS, psnr, test_pairs
from sr_x2 import NOISE_SEED, show


class Client:
    """One kept-alive connection that sends and receives PNG."""

    def __init__(self, url: str, model: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80)
        self.path = f"/v1/models/{model}/predict"

    def doubled(self, picture: np.ndarray, domain: str) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        headers = {"Content-Type": "image/png", "Accept": "image/png", "X-Domain": domain}
        self.connection.request("POST", self.path, buffer.getvalue(), headers)
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {body[:500]!r}")
        return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with test-set14 and city100-phone")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="sr-x2")
    parser.add_argument("--provenance", type=Path, help="models/sr-x2/provenance.json if not given")
    parser.add_argument("--tolerance", type=float, default=0.05, help="dB")
    options = parser.parse_args()
    provenance = options.provenance or Path(__file__).parent.parent / "models" / options.model / "provenance.json"
    expected = json.loads(provenance.read_text())["figures"]["crossed"]
    client = Client(options.url, options.model)
    _, test = degradations.load(options.data)
    table: dict[str, dict[str, float]] = {}
    for kind in DEGRADATIONS:
        pairs = test_pairs(kind, test, NOISE_SEED)
        table[kind] = {
            bank: float(np.mean([psnr(client.doubled(low, bank), high) for low, high in pairs])) for bank in DEGRADATIONS
        }
    show("PSNR in dB over HTTP, rows: degradation, columns: bank", list(DEGRADATIONS), table)
    show("the same by PyTorch", list(DEGRADATIONS), expected)
    difference = max(abs(table[kind][bank] - expected[kind][bank]) for kind in DEGRADATIONS for bank in DEGRADATIONS)
    is_own_best = all(max(row, key=row.__getitem__) == kind for kind, row in table.items())
    print(f"largest difference {difference:.3f} dB; the own bank is {'' if is_own_best else 'NOT '}best in every row")
    return 0 if is_own_best and difference <= options.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
