"""A folder of links with readable names to the runs of a study, for TensorBoard.

TensorBoard names a run after its folder, and a folder must not be renamed while a worker writes
there. Must not import torch.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

EVENTS = ("*/tensorboard", "*/*/tensorboard")
LONGEST_NAME = 120
REFRESH_SECONDS = 5.0

NameRuns = Callable[[], Mapping[Path, str]]

logger = logging.getLogger(__name__)


class RunLinks:
    """Links to folders of events, each made once; a name never changes.

    Args:
        folder: The study's run folder.
        links: Where the links are.
        name_runs: Returns the names of runs by their folders of events; asked for when there are
            new ones.
    """

    def __init__(self, folder: Path, links: Path, name_runs: NameRuns) -> None:
        self._folder, self._links, self._name_runs = folder, links, name_runs
        self._linked: set[Path] = set()

    def refresh(self) -> None:
        """Link to what is new; a run without a name keeps its place below the run folder."""
        found = {path for pattern in EVENTS for path in self._folder.glob(pattern)}
        new = sorted(found - self._linked)
        names = self._name_runs() if new else {}
        for path in new:
            place = path.parent.relative_to(self._folder).as_posix()
            name = _as_file_name(names.get(path, place))
            (self._links / name).symlink_to(path.resolve(), target_is_directory=True)
            self._linked.add(path)

    def keep_fresh(self, stopped: threading.Event) -> None:
        """Refresh until stopped; what fails is logged and tried again."""
        while not stopped.wait(REFRESH_SECONDS):
            try:
                self.refresh()
            except Exception as error:
                logger.warning("new runs are not shown yet: %s", error)


def _as_file_name(name: str) -> str:
    """Return a name that a folder may have, and that is one line; a long one ends with a word."""
    safe = re.sub(r"[^\w.,=+() -]", "-", name)
    begin = safe[:LONGEST_NAME]
    if len(safe) > LONGEST_NAME and safe[LONGEST_NAME] != " ":
        begin = begin.rpartition(" ")[0] or begin
    return begin.strip()


@contextmanager
def linked_runs(folder: Path, name_runs: NameRuns) -> Iterator[Path]:
    """Yield a folder of links to the runs of a study, which follows the study."""
    with TemporaryDirectory(prefix="study-tensorboard-") as links:
        runs = RunLinks(folder, Path(links), name_runs)
        runs.refresh()
        stopped = threading.Event()
        thread = threading.Thread(target=runs.keep_fresh, args=(stopped,), daemon=True)
        thread.start()
        try:
            yield Path(links)
        finally:
            stopped.set()
            thread.join()
