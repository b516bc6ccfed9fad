"""Picture files that rows name instead of holding their bytes: only those inside a source."""

import os
from pathlib import Path


class NamedFiles:
    """Finds files below given folders. Thread-safe; remembers where the links of folders lead."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._roots = {folder: os.path.realpath(folder) for folder in folders}
        self._real_folders: dict[str, str] = {}

    def find(self, name: str) -> Path | None:
        """Finds a file by the name that a row gives, links followed.

        Returns:
            Its path below one of the folders, None where it is outside them or hidden in them.
        """
        if "\0" in name:
            return None
        for folder, root in self._roots.items():
            found = self._real_path(os.path.join(root, name))
            if found.startswith(inside := os.path.join(root, "")):
                below = found.removeprefix(inside)
                return None if "/." in f"/{below}" else folder / below
        return None

    def _real_path(self, path: str) -> str:
        parent, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if parent not in self._real_folders:
            self._real_folders[parent] = os.path.realpath(parent)
        joined = os.path.join(self._real_folders[parent], name)
        return os.path.realpath(joined) if os.path.islink(joined) else joined
