"""Files of a source that are not used, counted by split and reason.

Must not know why a file is used.
"""

from collections.abc import Callable, Collection, Iterable, Set
from os.path import join
from pathlib import Path

from data.sources.encoded_images import LeftOut
from data.sources.folder_walk import readable, walk
from data.sources.picture_files import is_picture, kind_of

MOST_EXAMPLES = 5
BESIDE_TABLES = "images beside the tables"


def count_reasons(
    unused: Iterable[tuple[str | None, str, str]], *, name: Callable[[str], str]
) -> tuple[LeftOut, ...]:
    """Count unused files by split and reason, in the order in which they come.

    Args:
        unused: Split, reason and path of each.
        name: Names a path below the source.
    """
    found: dict[tuple[str | None, str], list[str]] = {}
    for split, reason, path in unused:
        found.setdefault((split, reason), []).append(path)
    return tuple(
        LeftOut(
            split=split,
            reason=reason,
            count=len(paths),
            examples=tuple(map(name, paths[:MOST_EXAMPLES])),
        )
        for (split, reason), paths in found.items()
    )


def count_files_beside(
    folder: Path, known: Set[str], *, ignored: Collection[str], skipped: Path
) -> tuple[LeftOut, ...]:
    """Count the files of a folder of tables that lie beside those that are known.

    Args:
        folder: The source.
        known: Paths of the tables, below the source.
        ignored: Names of files that describe tables.
        skipped: A folder that is not entered.

    Raises:
        DataError: A folder cannot be read.
    """
    top = walk(folder, is_used=is_picture, skipped=skipped)
    prefix = join(top.path, "")

    def name(path: str) -> str:
        return readable(path.removeprefix(prefix))

    unused = [
        (None, reason, path)
        for inner in top.below()
        for names, is_used in ((inner.used, True), (inner.others, False))
        for file in names
        if file not in ignored
        if (path := f"{inner.path}/{file}").removeprefix(prefix) not in known
        for reason in (BESIDE_TABLES if is_used else kind_of(file),)
    ]
    return count_reasons(unused, name=name)
