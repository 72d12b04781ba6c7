"""The commands: arguments in, exit code out."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from zipfile import BadZipFile

import numpy as np

from bankswitch.client import Client
from bankswitch.command import printing
from bankswitch.command.arguments import calibration_options, parse_arguments
from bankswitch.command.exit_codes import INTERRUPTED, exit_code_of
from bankswitch.command.key import find_key
from bankswitch.errors import BankswitchError, InvalidCall
from bankswitch.results import Model

#: The name that a format has among media types, by a file's ending.
_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def main(argv: Sequence[str]) -> int:
    """Runs the command that the arguments name. What goes wrong is told on standard error and becomes the exit code."""
    try:
        arguments = parse_arguments(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    run, needs_key = _COMMANDS[arguments.command]
    try:
        key = find_key(arguments.key_file, os.environ, needs_key)
        with Client(arguments.url, key) as client:
            run(client, arguments)
    except (BankswitchError, OSError) as error:
        sys.stderr.write(f"bankswitch: {error}\n")
        return exit_code_of(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _domains(client: Client, arguments: Namespace) -> None:
    domains = client.domains(arguments.model)
    print(printing.json_text([asdict(one) for one in domains]) if arguments.json else printing.domains_text(domains))


def _infer(client: Client, arguments: Namespace) -> None:
    inference = client.infer(
        arguments.model,
        _arrays(client, arguments),
        domain=arguments.domain,
        version=arguments.version,
    )
    # As text of a fixed length, not as objects, which would be pickled.
    plain: dict[str, Any] = {
        name: array.astype(np.bytes_) if array.dtype == object else array for name, array in inference.outputs.items()
    }
    with arguments.out.open("wb") as file:
        np.savez(file, **plain)
    shapes = {name: list(array.shape) for name, array in inference.outputs.items()}
    told = {"domain": inference.domain, "version": inference.version, "outputs": shapes}
    print(printing.json_line({**told, "recognised": [row and asdict(row) for row in inference.recognised]}))


def _arrays(client: Client, arguments: Namespace) -> Mapping[str, Any]:
    """The inputs in the file. Raises InvalidCall for a file of another form, or an array for one of several inputs."""
    try:
        with arguments.file.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return dict(loaded)
    except (BadZipFile, EOFError, ValueError) as error:
        raise InvalidCall(f"{arguments.file} is neither an npy nor an npz file of plain arrays: {error}") from error
    names = _input_names(client.model(arguments.model))
    if len(names) > 1:
        raise InvalidCall(f"the model has the inputs {', '.join(names)}; give them by name in an npz file")
    return {names[0]: loaded}


def _input_names(model: Model) -> list[str]:
    described = model.described
    return list(described["inputs"]) if "inputs" in described else [described["input"]["name"]]


def _predict(client: Client, arguments: Namespace) -> None:
    named = {"domain": arguments.domain, "version": arguments.version}
    if arguments.out is None:
        predictions = client.predict(arguments.model, arguments.picture, top=arguments.top, **named)
        print(printing.json_line(asdict(predictions)))
        return
    suffix = arguments.out.suffix.lower()
    if suffix not in _FORMATS:
        raise InvalidCall(f"{arguments.out} ends in none of {', '.join(_FORMATS)}")
    picture = client.transform(
        arguments.model, arguments.picture, format=_FORMATS[suffix], quality=arguments.quality, **named
    )
    picture.save(arguments.out)
    told = {"domain": picture.domain, "version": picture.version, "bytes": len(picture.content)}
    recognised = picture.recognised
    print(printing.json_line({**told, "recognised": None if recognised is None else asdict(recognised)}))


def _register(client: Client, arguments: Namespace) -> None:
    registered = client.register(
        arguments.model,
        arguments.domain,
        arguments.file,
        activate=not arguments.no_activate,
        preprocessing=arguments.preprocessing,
        if_match=arguments.if_match,
    )
    print(printing.json_line(asdict(registered)))


def _calibrate(client: Client, arguments: Namespace) -> None:
    with printing.ProgressBar(sys.stderr) as bar:
        calibration = client.calibrate(
            arguments.model,
            arguments.domain,
            arguments.images,
            on_progress=lambda job: bar.show(job.progress),
            if_match=arguments.if_match,
            **calibration_options(arguments),
        )
    print(printing.json_text(asdict(calibration)) if arguments.json else printing.calibration_text(calibration))


def _activate(client: Client, arguments: Namespace) -> None:
    domain = client.activate(arguments.model, arguments.domain, arguments.version, if_match=arguments.if_match)
    print(printing.json_line({"domain": domain.domain, "active": domain.active, "revision": domain.revision}))


def _diff(client: Client, arguments: Namespace) -> None:
    layers = client.diff(arguments.a, arguments.b)
    if arguments.json:
        print(printing.json_text({"a": arguments.a, "b": arguments.b, "layers": [asdict(layer) for layer in layers]}))
    else:
        print(printing.difference_text(layers))


#: What runs a command, and whether it needs a key of every server.
_COMMANDS: Mapping[str, tuple[Callable[[Client, Namespace], None], bool]] = {
    "domains": (_domains, False),
    "infer": (_infer, False),
    "predict": (_predict, False),
    "register": (_register, True),
    "calibrate": (_calibrate, True),
    "activate": (_activate, True),
    "diff": (_diff, True),
}
