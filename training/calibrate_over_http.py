"""Prints what calibration is worth on traffic-signs, from a running server.

    BANKSWITCH_ADMIN_KEY=... python calibrate_over_http.py --data gtsrb32.npz --url http://127.0.0.1:8080

Images to calibrate on come from the training part, without their labels; accuracies from the test part. Every figure is
the mean over a few draws of images, with its standard deviation. Domains named `experiment-...` are made and removed.

  1. An unseen domain, day pictures under-exposed to 18, 12 and 8 % with sensor noise of sigma 6 (`gtsrb.dark_noise`):
     every existing bank, then banks calibrated on 16, 64, 256 and 1,024 images, starting from the best of those.
  2. `lowres` anew from 512 images, by whose gamma and beta: what calibration can and cannot replace.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.request
import uuid

import numpy as np
import torch
from safetensors.torch import load, save

import gtsrb
from evaluate_over_http import Client
from traffic_signs import DARK_NOISE, TEST_FOG

AMOUNTS = (16, 64, 256, 1024)
LOWRES_IMAGES = 512
POLL_SECONDS = 0.3


class Admin:
    def __init__(self, url: str, model: str, key: str) -> None:
        self.url, self.model, self.key = url, model, key

    def ask(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.key}"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        with urllib.request.urlopen(request) as response:
            return response.read()

    def calibrate(self, domain: str, inputs: torch.Tensor, **options: str) -> dict:
        """Sends normalised inputs as tensors, waits for the job, returns its result."""
        boundary = uuid.uuid4().hex
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in options.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="tensors"; filename="set.safetensors"\r\n\r\n'
        parts += [head.encode(), save({"input": inputs.contiguous()}), f"\r\n--{boundary}--\r\n".encode()]
        path = f"/admin/models/{self.model}/domains/{domain}/calibrations"
        job = json.loads(self.ask("POST", path, b"".join(parts), f"multipart/form-data; boundary={boundary}"))
        while job["state"] in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            job = json.loads(self.ask("GET", f"/admin/jobs/{job['id']}"))
        if job["state"] != "succeeded":
            raise RuntimeError(job["error"])
        return job["result"]

    def bank(self, domain: str) -> dict[str, torch.Tensor]:
        return load(self.ask("GET", f"/admin/models/{self.model}/domains/{domain}/versions/1"))

    def register(self, domain: str, bank: dict[str, torch.Tensor]) -> None:
        path = f"/admin/models/{self.model}/domains/{domain}"
        self.ask("PUT", path, save(bank), "application/octet-stream")

    def remove(self, domain: str) -> None:
        self.ask("DELETE", f"/admin/models/{self.model}/domains/{domain}")


def drawn(part: gtsrb.Split, count: int, draw: int) -> torch.Tensor:
    return part.images[torch.randperm(len(part.labels), generator=gtsrb.generator_for(count, draw))[:count]]


def spread(figures: list[float]) -> str:
    return f"{np.mean(figures):.2f} ± {np.std(figures):.2f}"


def unseen(
    admin: Admin, client: Client, train: gtsrb.Split, test: gtsrb.Split, exposures: list[float], draws: int, seed: int
) -> None:
    print(f"\nunseen domain, {len(test.labels):,} dark and noisy test pictures, %")
    print("| exposure | " + " | ".join(f"bank {bank}" for bank in gtsrb.DOMAINS), end="")
    print(" | " + " | ".join(f"{count:,} images" for count in AMOUNTS) + " | gain of 256 |")
    print("|---" * (len(gtsrb.DOMAINS) + len(AMOUNTS) + 2) + "|")
    for exposure in exposures:
        dark = gtsrb.dark_noise(test.images, gtsrb.generator_for(seed, DARK_NOISE), exposure)
        existing = {bank: client.accuracy(dark, test.labels, bank) for bank in gtsrb.DOMAINS}
        best = max(existing, key=lambda bank: existing[bank])
        fresh: dict[int, list[float]] = {count: [] for count in AMOUNTS}
        for count in AMOUNTS:
            for draw in range(draws):
                generator = gtsrb.generator_for(count, draw, DARK_NOISE)
                images = gtsrb.dark_noise(drawn(train, count, draw), generator, exposure)
                admin.calibrate("experiment-dark", gtsrb.normalise(images), base=best)
                fresh[count].append(client.accuracy(dark, test.labels, "experiment-dark"))
                admin.remove("experiment-dark")
        cells = [f"{accuracy:.2f}" for accuracy in existing.values()] + [spread(figures) for figures in fresh.values()]
        gain = np.mean(fresh[256]) - existing[best]
        print(f"| {100 * exposure:.0f} % | " + " | ".join(cells) + f" | {gain:+.2f} |", flush=True)


def lowres(admin: Admin, client: Client, train: gtsrb.Split, test: gtsrb.Split, draws: int, seed: int) -> None:
    degraded = gtsrb.degrade("lowres", test.images, gtsrb.generator_for(seed, TEST_FOG))
    print(f"\nlowres, {len(test.labels):,} test pictures, %")
    print("| means and variances | gamma and beta | accuracy |\n|---|---|---|")
    print(f"| trained lowres | lowres | {client.accuracy(degraded, test.labels, 'lowres'):.2f} |")
    for base in ("lowres", "day"):
        figures = []
        for draw in range(draws):
            images = gtsrb.degrade("lowres", drawn(train, LOWRES_IMAGES, draw), gtsrb.generator_for(seed, draw))
            admin.calibrate("experiment-lowres", gtsrb.normalise(images), base=base)
            figures.append(client.accuracy(degraded, test.labels, "experiment-lowres"))
            admin.remove("experiment-lowres")
        print(f"| calibrated on {LOWRES_IMAGES} images | {base} | {spread(figures)} |", flush=True)
    print(f"| trained day | day | {client.accuracy(degraded, test.labels, 'day'):.2f} |")
    mixed = {
        name: tensor if name.endswith(("running_mean", "running_var")) else admin.bank("day")[name]
        for name, tensor in admin.bank("lowres").items()
    }
    admin.register("experiment-mixed", mixed)
    print(f"| trained lowres | day | {client.accuracy(degraded, test.labels, 'experiment-mixed'):.2f} |")
    admin.remove("experiment-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="gtsrb32.npz")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="traffic-signs")
    parser.add_argument("--exposures", type=float, nargs="*", default=[0.18, 0.12, 0.08])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    admin = Admin(options.url, options.model, os.environ["BANKSWITCH_ADMIN_KEY"])
    client = Client(options.url, options.model)
    train, _, test = (part.of_domain("day") for part in gtsrb.load(options.data, 0.1, options.seed))
    unseen(admin, client, train, test, options.exposures, options.draws, options.seed)
    lowres(admin, client, train, test, options.draws, options.seed)


if __name__ == "__main__":
    main()
