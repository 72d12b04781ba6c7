"""End to end: resnet18 of torchvision with two domains, exported, served by the built service, asked by the client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bankswitch import Client
from bankswitch.torch import export, train_bank
from served import Server
from small_nets import optional, randomised, with_statistics_of

PICTURES = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def test_both_domains_answer_as_torch_does(
    start_server: Callable[[Path], Server], tmp_path: Path, main_js: Path
) -> None:
    day = randomised(optional("torchvision").models.resnet18(weights=None))
    night = with_statistics_of(day, 5)
    made = export(
        day,
        PICTURES,
        tmp_path / "models" / "night-signs",
        labels=[f"class {at}" for at in range(1000)],
        preprocessing={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        domains={"day": day.state_dict(), "night": night},
    )
    server = start_server(tmp_path)
    with Client(server.url, key=server.key) as client:
        assert client.model("night-signs").fingerprint == made.fingerprint
        answers = {}
        for domain, network in (("day", day), ("night", night)):
            answer = client.infer("night-signs", {"input": PICTURES.numpy()}, domain=domain)
            assert (answer.domain, answer.version) == (domain, 1)
            answers[domain] = answer["output"]
            with torch.no_grad():
                expected = network(PICTURES).numpy()
            assert np.abs(answers[domain] - expected).max() / max(1, np.abs(expected).max()) < 1e-4
        assert np.abs(answers["day"] - answers["night"]).max() > 0.1

        file = tmp_path / "dusk.safetensors"
        bank = train_bank(day, [PICTURES], parameters="statistics", file=file)
        assert client.register("night-signs", "dusk", file).version == 1
        answer = client.infer("night-signs", {"input": PICTURES.numpy()}, domain="dusk")
        day.load_state_dict(bank, strict=False)
        with torch.no_grad():
            expected = day(PICTURES).numpy()
        assert np.abs(answer["output"] - expected).max() / max(1, np.abs(expected).max()) < 1e-4
