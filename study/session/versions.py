"""Where a result comes from: versions of the software and of the code.

The code is known by the digest of its files, which is the same for every user and for an installed
wheel. The commit beside it says where to find that code again.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTION = "image-classifier-study"
PACKAGES = ("torch", "torchvision", "optuna", "datasets", "numpy", "sqlalchemy", "pillow")
OWN_PACKAGES = ("dashboards", "data", "model", "storage", "study")
ROOT = Path(__file__).parents[2]
DIGEST_CHARACTERS = 16
# Of whoever runs git, no settings count: they decide what is ignored, and what git trusts.
GIT_SETTINGS = ("core.fsmonitor=false", "core.excludesFile=/dev/null")
GIT_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in PACKAGES
    }


@cache
def source_digest() -> str:
    """Return the digest of this program's Python files as they are on disk now."""
    return digest_source(ROOT)


def digest_source(root: Path) -> str:
    """Return the digest of the Python files of a program.

    Args:
        root: The folder that holds its packages.

    Returns:
        The first 16 digits of a SHA-256 over the paths below `root` and the contents.
    """
    digest = hashlib.sha256()
    for name in OWN_PACKAGES:
        for path in sorted((root / name).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:DIGEST_CHARACTERS]


@cache
def git_revision() -> str | None:
    """Return the commit of this code, `+` added when files differ from it; None outside git."""
    return read_revision(ROOT)


def read_revision(root: Path) -> str | None:
    """Return the commit that is checked out in a folder, whoever owns it.

    Args:
        root: The top folder of the checkout.

    Returns:
        The commit, `+` added when files differ from it; None without `.git`, or without git.
    """
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    # Git looks for no repository, whose owner it would have to trust, where it is told which.
    place = [f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    settings = [word for one in GIT_SETTINGS for word in ("-c", one)]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    ended = subprocess.run(
        ["git", "--no-optional-locks", *place, *settings, *arguments],
        cwd=root,
        env=inherited | GIT_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.strip()


def comparable_code(
    there: Mapping[str, Any], here: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both without what does not tell whether the code is the same.

    Where both have a `source_digest` it decides: the commit only adds where the code differs. A
    study of an early version has the commit alone.

    Args:
        there: What was recorded, `git_revision` and `source_digest` included.
        here: The same of this process.
    """
    digests = (there.get("source_digest"), here.get("source_digest"))
    revisions = (there.get("git_revision"), here.get("git_revision"))
    if None in digests:
        silent = {"source_digest"}
    elif digests[0] == digests[1] or None in revisions:
        silent = {"git_revision"}
    else:
        silent = set()
    return _without(there, silent), _without(here, silent)


def _without(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def describe_versions() -> str:
    """Return the versions of this code and of what decides a result, in two lines."""
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from its folder
        version = "not installed"
    revision = git_revision() or "unknown: no git repository"
    others = ", ".join(f"{name} {text}" for name, text in versions().items())
    return f"study {version}, revision {revision}\n{others}"
