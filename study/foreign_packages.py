"""Whether Python finds this program's other packages, or others that have the same names.

Their names are common: a `model.py` in the folder of a notebook, or a folder `data` on PYTHONPATH,
may stand before them. Must be called before anything of theirs is imported, and import none.
"""

import importlib.util
import os
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path

from study.errors import ForeignPackageError

PACKAGES = ("dashboards", "data", "model", "storage")


def reject_foreign_packages() -> None:
    """Reject a package that is not the one which lies beside this one.

    Raises:
        ForeignPackageError: If Python finds another one; the message says where it lies.
    """
    root = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        found = _find(name)
        if found != root / name:
            raise ForeignPackageError(
                f"package {name!r} must be the one in {root}, Python finds "
                f"{found or 'none'}: {_remedy(found)}"
            )


def _find(name: str) -> Path | None:
    """Return the folder of a package, or the file of a module; imports neither."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # imported already, by somebody who made a module by hand
        return Path(getattr(sys.modules[name], "__file__", None) or f"a module {name}")
    return None if spec is None else _place(spec)


def _place(spec: ModuleSpec) -> Path:
    folders = list(spec.submodule_search_locations or ())  # more than one of a namespace package
    return Path(folders[0] if folders else spec.origin or spec.name).resolve()


def _remedy(found: Path | None) -> str:
    if found is None:
        return "install this program anew"
    folder = found.parent
    given = os.environ.get("PYTHONPATH")  # Python ignores it where it is empty as a whole
    entries = given.split(os.pathsep) if given else []
    if folder in {Path(entry).resolve() for entry in entries}:
        is_empty = folder == Path.cwd() and str(folder) not in entries
        what = "the empty entry, which means the current folder," if is_empty else str(folder)
        return f"remove {what} from PYTHONPATH, or rename {found.name}"
    if folder == Path.cwd():
        return (
            f"rename {found.name}, or start Python elsewhere; the command `study` and "
            "`python -P -m study` do not look into the current folder"
        )
    if folder == Path(sysconfig.get_path("purelib")).resolve():
        return "install this program into an environment of its own"
    return f"rename {found.name}, or remove {folder} from the search path"
