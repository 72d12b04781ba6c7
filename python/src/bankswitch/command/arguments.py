"""The command line: what can be typed, and what is wrong with what was."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from bankswitch.command.exit_codes import INVALID, USAGE

URL = "http://127.0.0.1:8080"

_KEYS = """
The key of the admin API is what stands in --key-file, else in BANKSWITCH_ADMIN_KEY, else in the file that
BANKSWITCH_ADMIN_KEY_FILE names; register, calibrate, activate and diff then look at .bankswitch/admin.key.
"""


class _Parser(ArgumentParser):
    """Exits like the server's own commands."""

    exit_code = INVALID

    def error(self, message: str) -> NoReturn:
        self.exit(self.exit_code, f"bankswitch: {message}\n\n{self.format_help()}")


def parse_arguments(argv: Sequence[str]) -> Namespace:
    """The arguments of a command, whose name is `command`. Raises SystemExit for wrong ones, and for --help."""
    parser = _Parser(prog="python -m bankswitch", epilog=_KEYS, formatter_class=RawDescriptionHelpFormatter)
    parser.exit_code = USAGE
    parser.add_argument("--version", action="version", version=version("bankswitch"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    parsers = {name: add(commands) for name, add in _COMMANDS.items()}
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parsers[arguments.command].error(f"there is no argument {unknown[0]}")
    return arguments


def _command(commands: Any, name: str, summary: str) -> ArgumentParser:  # noqa: ANN401
    parser: ArgumentParser = commands.add_parser(
        name, help=summary, description=summary, epilog=_KEYS, allow_abbrev=False
    )
    parser.add_argument("--url", default=URL, help="address of the server [%(default)s]")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file of the key")
    return parser


def _domain(parser: ArgumentParser, is_required: bool = True) -> None:
    parser.add_argument("--model", required=True)
    parser.add_argument("--domain", required=is_required)


def _answering_bank(parser: ArgumentParser) -> None:
    _domain(parser, is_required=False)
    parser.add_argument("--version", metavar="V", help="a version of the domain, by number or label")


def _domains(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "domains", "show the domains of a model and their versions")
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", action="store_true", help="print all that the server says, as JSON")
    return parser


def _infer(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "infer", "run a model on arrays")
    _answering_bank(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="npz file for the outputs")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="npz with inputs by their names, or npy of the only one"
    )
    return parser


def _predict(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "predict", "classify a picture, or turn it into another")
    _answering_bank(parser)
    parser.add_argument("--top", type=int, metavar="N", help="how many classes [5]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for a picture that a model makes: .png, .jpg, .webp")
    parser.add_argument("--quality", type=int, metavar="Q", help="of a picture in JPEG or WebP [92]")
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    return parser


def _register(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "register", "register a bank (.safetensors, .npz, .json) as a new version")
    _domain(parser)
    parser.add_argument("--no-activate", action="store_true", help="only store it")
    parser.add_argument("--preprocessing", type=json.loads, metavar="JSON", help="how pictures for it are prepared")
    parser.add_argument("--if-match", type=int, metavar="REVISION", help="only if the domain has this revision")
    parser.add_argument("file", type=Path, metavar="FILE")
    return parser


def _calibrate(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "calibrate", "make a bank for a domain from unlabelled images")
    _domain(parser)
    parser.add_argument("--no-activate", action="store_true", help="register the bank without serving it")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    parser.add_argument("--if-match", type=int, metavar="REVISION", help="only if the domain keeps this revision")
    for flag, kind, meaning in _CALIBRATION_OPTIONS:
        if kind is bool:
            parser.add_argument(flag, action="store_const", const=True, help=meaning)
        else:
            parser.add_argument(flag, type=kind, metavar=kind.__name__.upper().replace("STR", "TEXT"), help=meaning)
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGES", help="pictures, folders, archives, or one safetensors file"
    )
    return parser


#: As in docs/calibration.md; the server has the defaults.
_CALIBRATION_OPTIONS: Sequence[tuple[str, type, str]] = [
    ("--mode", str, "sequential, fixed, fvcore, torch, ema or signature"),
    ("--base", str, "domain, or domain:version, that gives gamma, beta and what is not adapted"),
    ("--batch-size", int, "images per run; changes the result of fvcore, torch and ema only"),
    ("--momentum", str, "of mode ema; null is the cumulative average"),
    ("--fresh", bool, "mode ema begins at mean 0, variance 1, not at the base bank"),
    ("--batches-tracked", int, "num_batches_tracked that mode ema begins with"),
    ("--prior-images", float, "how many images the base bank counts as"),
    ("--prior-kind", str, "mixture or schneider"),
    ("--signature-size", str, "mode signature: width x height in which pictures are looked at"),
    ("--layers", str, "layers to adapt, by key or prefix ending in *, with commas"),
    ("--tolerance", float, "a layer is settled when its standard errors are below this share of the spread"),
    ("--stop-early", bool, "stop once every layer is settled"),
    ("--minimum-images", int, "fewer distinct images are refused"),
    ("--strict", bool, "one unreadable image ends the job"),
    ("--description", str, "of the domain"),
]


def calibration_options(arguments: Namespace) -> dict[str, Any]:
    """The options of a calibration that were given."""
    names = [flag.removeprefix("--").replace("-", "_") for flag, _, _ in _CALIBRATION_OPTIONS]
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return {**given, **({"activate": False} if arguments.no_activate else {})}


def _activate(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "activate", "let a version answer")
    _domain(parser)
    parser.add_argument("--version", type=int, required=True, metavar="N")
    parser.add_argument("--if-match", type=int, metavar="REVISION", help="only if the domain has this revision")
    return parser


def _diff(commands: Any) -> ArgumentParser:  # noqa: ANN401
    parser = _command(commands, "diff", "show how far two banks lie apart: files, model/domain or model/domain:version")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    return parser


_COMMANDS = {
    "domains": _domains,
    "infer": _infer,
    "predict": _predict,
    "register": _register,
    "calibrate": _calibrate,
    "activate": _activate,
    "diff": _diff,
}
