"""Where a result comes from: versions of the software and of the code."""

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "image-classifier-study"
PACKAGES = ("torch", "torchvision", "optuna", "datasets", "numpy", "sqlalchemy", "pillow")


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in PACKAGES
    }


@cache
def git_revision() -> str | None:
    """Return the commit of this code, `+` added when files differ from it; None outside git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def describe_versions() -> str:
    """Return the versions of this code and of what decides a result, in two lines."""
    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from its folder
        version = "not installed"
    revision = git_revision() or "unknown: no git repository"
    others = ", ".join(f"{name} {text}" for name, text in versions().items())
    return f"study {version}, revision {revision}\n{others}"
