"""Prints the accuracy matrix of models/traffic-signs from a running server, through the Open Inference Protocol.

    python evaluate_over_http.py --data gtsrb32.npz --url http://127.0.0.1:8080

sends all 6,315 test pictures: those of a domain to every bank, and those between day and low light (track luma 50 to
80, which no domain claims) as a row of their own. Pictures are degraded as in the recipe, with the recipe's seed.
"""

from __future__ import annotations

import argparse
import http.client
import json
from urllib.parse import urlsplit

import numpy as np
import torch

import gtsrb
from traffic_signs import TEST_FOG, show

BATCH = 64


class Client:
    """One kept-alive connection that sends binary tensors."""

    def __init__(self, url: str, model: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80)
        self.path = f"/v2/models/{model}/infer"

    def logits(self, inputs: torch.Tensor, domain: str | None) -> np.ndarray:
        """Without a domain the server chooses."""
        tensor = inputs.contiguous().numpy().astype("<f4").tobytes()
        header = json.dumps({
            "inputs": [{
                "name": "input",
                "shape": list(inputs.shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": len(tensor)},
            }],
            "parameters": {"binary_data_output": True},
        }).encode()
        self.connection.request("POST", self.path, header + tensor, {
            "Inference-Header-Content-Length": str(len(header)),
            **({} if domain is None else {"X-Domain": domain}),
        })
        response = self.connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {body[:500]!r}")
        length = int(response.headers["Inference-Header-Content-Length"])
        shape = json.loads(body[:length])["outputs"][0]["shape"]
        return np.frombuffer(body[length:], "<f4").reshape(shape)

    def accuracy(self, images: torch.Tensor, labels: torch.Tensor, domain: str | None) -> float:
        chunks = gtsrb.normalise(images).split(BATCH)
        predicted = np.concatenate([self.logits(chunk, domain).argmax(1) for chunk in chunks])
        return round(100 * float((predicted == labels.numpy()).mean()), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="traffic-signs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    client = Client(options.url, options.model)
    _, _, test = gtsrb.load(options.data, 0.1, options.seed)
    rows: dict[str, gtsrb.Split] = {domain: test.of_domain(domain) for domain in gtsrb.DOMAINS}
    between = (test.luma >= gtsrb.LOWLIGHT_LUMA_MAX) & (test.luma <= gtsrb.DAY_LUMA_MIN)
    rows["between"] = test.where(between)
    table: dict[str, dict[str, float]] = {}
    for row, part in rows.items():
        images = gtsrb.degrade(row, part.images, gtsrb.generator_for(options.seed, TEST_FOG))
        name = f"{row} ({len(part.labels):,})"
        table[name] = {bank: client.accuracy(images, part.labels, bank) for bank in gtsrb.DOMAINS}
    show("test over HTTP, %", table)


if __name__ == "__main__":
    main()
