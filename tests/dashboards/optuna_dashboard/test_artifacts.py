import io
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.artifacts import ArtifactMeta, download_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import TrialState, create_trial

from dashboards.errors import DashboardError
from dashboards.optuna_dashboard.app import build_dashboard
from dashboards.optuna_dashboard.artifacts import RunFiles, links_to
from storage.dashboard_notes import write_note
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from tests.dashboards.optuna_dashboard.test_app import ask

KEY = "0123456789abcdef" * 2


def id_of(place: str, key: str = KEY) -> str:
    return f"{key}-{place.encode().hex()}"


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    """The run folder of a study, with a file of one trial."""
    paths = RunPaths(tmp_path / "runs", "pets")
    paths.claim(KEY)
    paths.trial(3).folder.mkdir(parents=True)
    paths.trial(3).epochs.write_bytes(b"a table")
    return paths


def link(paths: RunPaths) -> ArtifactMeta:
    (found,) = links_to(KEY, paths.folder, [paths.trial(3).epochs, paths.trial(3).configuration])
    return found


def test_linked_file_is_served_where_it_lies(paths: RunPaths, tmp_path: Path) -> None:
    assert (
        link(paths)
        == link(paths)
        == ArtifactMeta(id_of("trials/00003/epochs.csv"), "epochs.csv", "text/csv", None)
    )
    copy = tmp_path / "copy.csv"
    store = RunFiles(paths.runs)
    download_artifact(
        artifact_store=store, file_path=str(copy), artifact_id=link(paths).artifact_id
    )
    assert copy.read_bytes() == b"a table"
    store.remove(link(paths).artifact_id)
    assert paths.trial(3).epochs.is_file()
    with pytest.raises(DashboardError, match="none can be added"):
        store.write("ab-01", io.BytesIO(b"x"))


@pytest.mark.parametrize(
    "place",
    [
        "../secret.png",
        "trials/../../secret.png",
        "/secret.png",
        "./.study-key",
        "link.png",
        "linked/secret.png",
        ".study-key",
        "trials/00003/best.pt",
        "trials/00003/missing.png",
        "trials/00003",
        "folder.png",
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}.png",
        "a\0.png",
        "trials/00003/epochs.csv\n",
    ],
)
def test_nothing_but_a_file_of_the_run_folder_is_served(place: str, paths: RunPaths) -> None:
    secret = paths.runs / "secret.png"
    secret.write_bytes(b"secret")
    (paths.folder / "link.png").symlink_to(secret)
    (paths.folder / "linked").symlink_to(paths.runs)
    (paths.folder / "folder.png").mkdir()
    (paths.trial(3).folder / "best.pt").write_bytes(b"weights")
    with pytest.raises(ArtifactNotFound):
        RunFiles(paths.runs).open_reader(id_of(place))


def test_file_of_another_study_of_the_name_is_not_served(paths: RunPaths) -> None:
    with pytest.raises(ArtifactNotFound):
        RunFiles(paths.runs).open_reader(id_of("trials/00003/epochs.csv", key="f" * 32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.binary().map(lambda place: f"{KEY}-{place.hex()}")))
def test_no_other_id_opens_anything(paths: RunPaths, artifact_id: str) -> None:
    with pytest.raises(ArtifactNotFound):
        RunFiles(paths.runs).open_reader(artifact_id)


def test_dashboard_serves_linked_files_and_answers_404_for_missing_ones(
    searched_study: StudyStorage, paths: RunPaths
) -> None:
    study = optuna.load_study(study_name="pets", storage=searched_study)
    study.add_trial(create_trial(state=TrialState.FAIL))
    trial_id = study.get_trials()[-1]._trial_id
    found = link(paths)
    searched_study.database.write(
        lambda connection: write_note(
            connection, study._study_id, "note", [found], trial_id=trial_id, finished=True
        )
    )
    app = build_dashboard(searched_study, RunFiles(paths.runs))
    assert b'"artifact_is_available": true' in ask(app, "/api/meta")[2]
    assert f'"artifact_id": "{found.artifact_id}"'.encode() in ask(app, "/api/studies/1")[2]
    address = f"/artifacts/1/{trial_id}/{found.artifact_id}"
    status, headers, body = ask(app, address)
    assert (status, headers["Content-Type"], body) == (200, "text/csv", b"a table")
    assert headers["Content-Security-Policy"].startswith("sandbox;")
    assert ask(app, f"/artifacts/1/1/{found.artifact_id}")[0] == 404  # another trial's
    for place in ("99", "99/1", "1/99", "9999999999999999999999"):
        assert ask(app, f"/artifacts/{place}/{found.artifact_id}")[0] == 404
    paths.trial(3).epochs.unlink()
    status, _, body = ask(app, address)
    assert status == 404 and str(paths.runs).encode() not in body
    for nonsense in ("", "/", "/1", "/1/1", "/x/y/z", "/1/1/ab-01", "/1/../../etc/passwd"):
        assert ask(app, f"/artifacts{nonsense}")[0] == 404
