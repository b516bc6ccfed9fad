"""Files of run folders as Optuna's artifacts: linked and served where they lie, never copied.

The id of an artifact is the study's key and the file's path in its run folder. So a
file always has the same id, and no id leads to anything else. Must not import torch.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

from optuna.artifacts import ArtifactMeta
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage

from dashboards.errors import DashboardError
from dashboards.servers.auth import WsgiApp, reject
from storage.run_folders import claimed_folders

# What a browser shows or saves; of a picture that is opened alone it runs nothing, see INERT.
MIMETYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
ID = re.compile(r"(?P<key>[0-9a-f]{32})-(?P<place>(?:[0-9a-f]{2})+)")
ADDRESS = re.compile(r"/artifacts/(?P<study>[0-9]{1,9})(/(?P<trial>[0-9]{1,9}))?/[^/]+/*")
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
INERT = [
    ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
]
READ_ONLY = "artifacts are files of the run folder: none can be added or deleted here"


def links_to(study_key: str, folder: Path, files: Iterable[Path]) -> list[ArtifactMeta]:
    """Return links to those of the files that exist.

    Args:
        study_key: Of the study whose run folder it is.
        folder: The run folder.
        files: Below it, of the kinds in `MIMETYPES`.
    """
    links = []
    for file in filter(Path.is_file, files):
        encoded = file.relative_to(folder).as_posix().encode().hex()
        mimetype = MIMETYPES[file.suffix]
        links.append(ArtifactMeta(f"{study_key}-{encoded}", file.name, mimetype, None))
    return links


class RunFiles:
    """Optuna's `ArtifactStore` over the run folders of all studies; it only reads.

    Args:
        runs: The folder of all runs.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open the file of an artifact.

        Raises:
            ArtifactNotFound: If there is no such file in the run folder of its study.
        """
        path = self._find(artifact_id)
        try:
            return path.open("rb")
        except OSError:
            raise ArtifactNotFound(f"{path.name} does not exist any more") from None

    def _find(self, artifact_id: str) -> Path:
        found = ID.fullmatch(artifact_id)
        if found is None:
            raise ArtifactNotFound(f"{artifact_id!r} is no file of a run")
        place = PurePosixPath(bytes.fromhex(found["place"]).decode(errors="replace"))
        if place.suffix not in MIMETYPES or not all(map(NAME.fullmatch, place.parts)):
            raise ArtifactNotFound(f"{artifact_id!r} is no file of a run")
        for folder, key in claimed_folders(self._runs).items():
            path = folder / place
            if key == found["key"] and path.resolve().is_relative_to(folder.resolve()):
                return path
        raise ArtifactNotFound(f"no run folder here has {place}")

    def write(self, artifact_id: str, content_body: BinaryIO) -> NoReturn:
        """Reject a new file.

        Raises:
            DashboardError: Always.
        """
        raise DashboardError(READ_ONLY)

    def remove(self, artifact_id: str) -> None:
        """Do nothing: the file belongs to the run folder."""


def serve_run_files(store: RunFiles, storage: BaseStorage, app: WsgiApp) -> WsgiApp:
    """Return optuna-dashboard with proper answers for missing files and for writes.

    By itself it answers either with status 500 and a traceback. No script in a served file runs.

    Args:
        store: Where its artifacts are.
        storage: Its studies and trials.
        app: What optuna-dashboard's `wsgi` returned.
    """

    def answering(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def inert(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *INERT], *more)

        path = environ["PATH_INFO"]
        if path.startswith("/api/artifacts/"):
            return reject(environ, start_response, "405 Method Not Allowed", READ_ONLY)
        if path.startswith("/artifacts/"):
            try:
                store.open_reader(path.rstrip("/").rpartition("/")[2]).close()
                _check_owner(storage, path)
            except ArtifactNotFound as error:
                return reject(environ, start_response, "404 Not Found", str(error))
            return app(environ, inert)
        return app(environ, start_response)

    return answering


def _check_owner(storage: BaseStorage, path: str) -> None:
    """Check that the study or trial of an artifact exists.

    Raises:
        ArtifactNotFound: If it does not.
    """
    found = ADDRESS.fullmatch(path)
    try:
        if found is None:
            raise KeyError(path)
        storage.get_study_name_from_id(int(found["study"]))
        if found["trial"] is not None:
            storage.get_trial(int(found["trial"]))
    except KeyError:
        raise ArtifactNotFound("there is no such study or trial") from None
