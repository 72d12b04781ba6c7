"""Prints the accuracy matrix of models/input-switch from a running server: every size under every bank, and by itself.

    python resolutions_over_http.py --data gtsrb32.npz --url http://127.0.0.1:8080

sends all 6,315 test pictures in each size as tensors through the Open Inference Protocol, to every bank by name and, in
the last column, without a name, so that the server chooses the bank by the size. Exits with 1 when a figure differs
from what PyTorch computed (provenance.json) by more than --tolerance points.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import gtsrb
from evaluate_over_http import Client
from input_switch import RESOLUTIONS, at_size
from traffic_signs import VALIDATION_SHARE

CHOSEN = "chosen by size"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="input-switch")
    parser.add_argument("--provenance", type=Path, help="models/input-switch/provenance.json if not given")
    parser.add_argument("--tolerance", type=float, default=0.02, help="points: one picture in 6,315")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    provenance = options.provenance or Path(__file__).parent.parent / "models" / options.model / "provenance.json"
    expected = json.loads(provenance.read_text())["figures"]["crossed"]
    client = Client(options.url, options.model)
    _, _, test = gtsrb.load(options.data, VALIDATION_SHARE, options.seed)
    columns = [*RESOLUTIONS, CHOSEN]
    print("test over HTTP, %, rows: pictures, columns: bank")
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    largest = 0.0
    for resolution in RESOLUTIONS:
        images = at_size(resolution, test.images)
        row = {bank: client.accuracy(images, test.labels, bank) for bank in RESOLUTIONS}
        row[CHOSEN] = client.accuracy(images, test.labels, None)
        print(f"| {resolution} | " + " | ".join(f"{row[column]:.2f}" for column in columns) + " |", flush=True)
        largest = max(largest, abs(row[CHOSEN] - expected[resolution][resolution]))
        largest = max([largest, *(abs(row[bank] - expected[resolution][bank]) for bank in RESOLUTIONS)])
    print(f"largest difference from PyTorch {largest:.2f} points")
    return 0 if largest <= options.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
