import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from storage.test_evaluations import count_openings, read_tests
from tests.tools.backups import copy_database
from tests.tools.processes import StartedProcess
from tests.tools.studies import NAME, SmallStudy, opened

POINTS = (
    "between_claim_and_opening",
    "between_the_files_of_two_tests",
    "before_the_tests_are_finished",
    "after_the_tests_are_finished",
)


def run_final(study: SmallStudy, point: str | None = None) -> StartedProcess:
    """Train and test two final runs, or die at a point."""
    place = ["--storage", study.url, "--runs", str(study.runs), "--seeds", "2"]
    if point is None:
        return study.processes.run("final", *place, folder=study.folder, seconds=240)
    prelude = f"tests.resilience.kill_points:{point}"
    killed = study.processes.start("final", *place, folder=study.folder, prelude=prelude)
    assert killed.wait(240) == -9
    return killed


def files_of_the_test(study: SmallStudy) -> dict[str, bytes]:
    """Return the files of both tests by name."""
    runs = study.runs / NAME
    found = [path for path in runs.glob("final*/*") if path.is_file()]
    return {path.relative_to(runs).as_posix(): path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tests_killed_at_every_point_are_those_that_would_have_been(
    study: SmallStudy, tmp_path: Path
) -> None:
    final = {"n_epochs": 2, "image_size": 8, "threads": 1}
    study = study.with_settings(search={"n_epochs": 1}, final=final).init()
    study.work()
    run_final(study, "before_the_claim_of_the_tests")
    folder = tmp_path / "straight"
    folder.mkdir()
    straight = replace(study, folder=folder, url=f"sqlite:///{folder}/study.db")
    copy_database(tmp_path / "study.db", folder / "study.db")
    shutil.copytree(study.runs, straight.runs)
    run_final(straight)

    for point in POINTS:
        run_final(study, point)
        with opened(study.url) as handle:
            tests = read_tests(handle.database, NAME)
            assert count_openings(handle.database, NAME) == 1 and len(tests) == 2
            is_finished = point == "after_the_tests_are_finished"
            assert [test.metrics is not None for test in tests] == [is_finished] * 2
    said = run_final(study).said()
    assert "was tested before; its result stands" in said
    files = files_of_the_test(study)
    assert files == files_of_the_test(straight)
    names = ("metrics.json", "predictions.csv", "confusion_matrix.csv", "mistakes.json", "best.pt")
    assert {f"{run}/{name}" for run in ("final", "final-2") for name in names} <= files.keys()
    assert json.loads(files["final/metrics.json"])["n_test_evaluations"] == 1
    with opened(straight.url) as handle:
        assert read_tests(handle.database, NAME) == tests
