from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import PostgreSQLServer, postgresql_server, requires_postgresql
from tests.tools.pictures import write_pictures
from tests.tools.processes import ProcessServer
from tests.tools.studies import SmallStudy, small_settings

on_both_databases = pytest.mark.parametrize(
    "study",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, requires_postgresql])],
    indirect=True,
)


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessServer]:
    with ProcessServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and what was decoded of them, shared by all tests."""
    folder = tmp_path_factory.mktemp("shared")
    write_pictures(folder / "pictures", n_per_class=100)
    return folder


@pytest.fixture
def study(
    request: pytest.FixtureRequest, processes: ProcessServer, session_folder: Path, tmp_path: Path
) -> SmallStudy:
    """A study that is not created yet, on SQLite save where the test names PostgreSQL."""
    url = f"sqlite:///{tmp_path}/study.db"
    if getattr(request, "param", "sqlite") == "postgresql":
        server: PostgreSQLServer = request.getfixturevalue("postgresql")
        url = server.url(server.create_database())
    settings = small_settings(session_folder / "pictures", session_folder / "cache")
    return SmallStudy(processes, tmp_path, url, settings)
