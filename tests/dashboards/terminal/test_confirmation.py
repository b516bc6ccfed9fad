"""A confirmation as a terminal shows it, in 80 columns."""

import io
from datetime import datetime

import optuna
import pytest
from rich.console import Console, RenderableType

from dashboards.analysis.confirmation.reading import Confirmation, read_confirmation
from dashboards.analysis.status import read_status
from dashboards.terminal.confirmation import confirmation_note, confirmation_table
from dashboards.terminal.status import status_table
from storage.leases import acquire
from storage.process_identity import Owner
from storage.study_storage import StudyStorage
from tests.dashboards.confirmations import BETTER, NOT_TOLD, add_confirmation


def drawn(shown: RenderableType) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


def shown_status(storage: StudyStorage) -> str:
    now = datetime(2026, 3, 4, 12, 0)
    text = drawn(status_table(read_status(storage, "pets"), now=now))
    return text[text.index("\nconfirmation: ") + 1 :]


def confirmation_of(storage: StudyStorage) -> Confirmation:
    found = read_confirmation(storage, "pets")
    assert found is not None
    return found


def test_status_before_the_end_shows_counts_and_who_is_under_way(
    searched_study: StudyStorage,
) -> None:
    add_confirmation(searched_study, BETTER, n_done=6)
    head = (
        "confirmation: not confirmed: 2 of 6 runs of the second stage are done\n"
        "      runs: 3 waiting  1 running  6 complete\n"
        "      run 7, winner trial 1: epoch 2/4, "
    )
    assert shown_status(searched_study) == f"{head}no worker is active"
    running = optuna.load_study(study_name="pets-confirm", storage=searched_study)
    acquire(searched_study.database, running.get_trials()[6]._trial_id, Owner.current())
    assert shown_status(searched_study).startswith(f"{head}about ")
    assert shown_status(searched_study).endswith(("to go, until 12:00:19", "until 12:00:20"))


def test_status_after_the_end_shows_the_verdict_and_what_it_rests_on(
    searched_study: StudyStorage,
) -> None:
    add_confirmation(searched_study, BETTER)
    shown = shown_status(searched_study)
    assert shown.startswith(
        "confirmation: trial 1 is better than the default\n"
        "      mean macro-F1 on 200 confirmation images: 0.5500 ± 0.0100 (3 seeds), the\n"
        "      default 0.4033 ± 0.0153 (3 seeds)\n"
        "      difference +0.1467, 90 % interval +0.1231 to +0.1702"
    )
    assert "p < 0.001" in shown and "runs:" not in shown


@pytest.mark.parametrize(
    ("judged", "verdict", "confirmed"),
    [
        (BETTER, "better than the default", "0.5500"),
        (NOT_TOLD, "not told from the default: keep the default", "0.4500"),
    ],
)
def test_note_names_the_confirmed_score_beside_that_of_the_search(
    searched_study: StudyStorage,
    judged: dict[str, tuple[float, ...]],
    verdict: str,
    confirmed: str,
) -> None:
    add_confirmation(searched_study, judged)
    assert confirmation_note(confirmation_of(searched_study)) == (
        f"confirmation: trial 1 is {verdict}; trial 1: {confirmed} confirmed, 0.6100 in the search"
    )


def test_note_before_the_end_says_how_far_it_is(searched_study: StudyStorage) -> None:
    add_confirmation(searched_study, n_done=3)
    assert confirmation_note(confirmation_of(searched_study)) == (
        "confirmation: not confirmed: 3 of 4 runs of the first stage are done"
    )


def test_table_names_the_setting_and_the_images_of_each_run(searched_study: StudyStorage) -> None:
    add_confirmation(searched_study, BETTER, n_done=6)
    lines = drawn(confirmation_table(confirmation_of(searched_study))).splitlines()
    assert lines[0].split() == ["run", "setting", "images", "state", "macro-F1", "epochs", "time"]
    cells = [" ".join(line.split()) for line in lines[2:]]
    assert cells[0] == "1 candidate trial 1 search complete 0.5500 4 40 s"
    assert cells[4] == "5 winner trial 1 confirmation complete 0.5400 4 40 s"
    assert cells[6] == "7 winner trial 1 confirmation running 2 20 s"
    assert cells[9] == "10 control trial 0 confirmation waiting"


def test_table_without_confirmation_images_says_which_judge(searched_study: StudyStorage) -> None:
    add_confirmation(searched_study, BETTER, own_images=False)
    text = drawn(confirmation_table(confirmation_of(searched_study)))
    assert text.count(" search ") == 10
    assert "caution: these images chose the winner too" in shown_status(searched_study)
