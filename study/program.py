"""How this program is called here, so that every suggested command can be typed as it stands."""

import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

NAME = "study"
CALLER = "STUDY_CALLED_BY"
"""Environment variable that the Makefile sets to `make` for the targets in `TARGETS`."""
TARGETS = {
    ("run",): "study",
    ("confirm",): "final",  # which begins with it
    ("final",): "final",
    ("worker",): "worker",
    ("status",): "status",
    ("status", "--watch"): "watch",
    ("metrics",): "metrics",
    ("dashboard",): "dashboard",
    ("tensorboard",): "tensorboard",
    ("report",): "report",
}
"""Target of the Makefile for each command that has one."""
VARIABLES = {"--name": "NAME", "--storage": "STORAGE", "--data": "DATA"}
WITHOUT_DATA = ("status", "watch", "metrics", "dashboard", "tensorboard", "report")
"""Targets that take no DATA."""
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
"""What needs quoting neither for make nor for the shell that make starts."""
SUGGESTED = re.compile(r"`study ([a-z][^`]*)`")


def command_line(words: Sequence[str]) -> str:
    """Return a command line of this program that works here.

    Args:
        words: Command, arguments and options.
    """
    return _make_line(words) or f"{program()} {shlex.join(words)}"


def program() -> str:
    """Return what starts this program here.

    `study` where that is this very program, else its path, relative where it lies below the
    current folder; `uv run --no-sync study` below uv, whose PATH ends with it.
    """
    script = _script()
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return f"uv run --no-sync {NAME}"  # uv would install by a lock of its own
    if script is None:
        return shlex.join([sys.executable, "-P", "-m", NAME])
    found = shutil.which(NAME)
    if found is not None and os.path.samefile(found, script):
        return NAME
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def is_called_by_make() -> bool:
    """Return whether a target of the Makefile called this program."""
    return os.environ.get(CALLER) == "make"


def name_program(text: str) -> str:
    """Return a message whose commands, such as `study init`, work here as they are written."""
    return SUGGESTED.sub(lambda found: f"`{_rewritten(found[1])}`", text)


def _script() -> Path | None:
    """Return the file that a shell starts, None where the code runs without being installed."""
    called = Path(sys.argv[0])
    if called.name == NAME and called.is_file():
        return called.absolute()
    installed = Path(sysconfig.get_path("scripts"), NAME)
    return installed if installed.is_file() else None


def _rewritten(command: str) -> str:
    try:
        made = _make_line(shlex.split(command))
    except ValueError:  # a placeholder with an apostrophe
        made = None
    return made or f"{program()} {command}"


def _make_line(words: Sequence[str]) -> str | None:
    """Return the call of make that does the same; None where make was not called, or has none."""
    if not is_called_by_make():
        return None
    first = next((i for i, word in enumerate(words) if word in VARIABLES), len(words))
    target, rest = TARGETS.get(tuple(words[:first])), words[first:]
    if target is None or len(rest) % 2:
        return None
    known = VARIABLES.keys() - ({"--data"} if target in WITHOUT_DATA else set())
    options = list(zip(rest[::2], rest[1::2], strict=True))
    if not all(option in known and PLAIN.fullmatch(value) for option, value in options):
        return None
    return " ".join(["make", target, *(f"{VARIABLES[option]}={it}" for option, it in options)])
