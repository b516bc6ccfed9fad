import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dashboards.analysis.confirmation.reading import read_confirmation
from dashboards.formatting import LONGEST_CODE, bullets, code
from dashboards.optuna_dashboard.notes import render_study_note, render_trial_note
from model.rate_curve import RateCurve
from storage.optuna_rows import AUDITED
from storage.records import Protocol, read_protocol
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage
from storage.trial_rows import TrialRow, read_trials
from tests.dashboards.confirmations import BETTER, add_confirmation
from tests.dashboards.statuses import build_row

EVIL = "<script>alert(1)</script>"
PIECES = st.sampled_from(
    ["`", "``", "|", "\\", "\n", "\r\n", "\n\n", " ", "<b>", "![x](y)", "[x](y)", "www.a.org"]
    + ["*", "_", "#", "- ", "1. ", "```\n", "~~~", "&lt;", "\0", "\u202e", "\u2028", "text", "é"]
)


def inline(markdown: str) -> list[Token]:
    """Return everything in a text that is not a block."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [child for token in tokens for child in token.children or []]


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_texts_from_data_are_no_markup(text: str) -> None:
    shown = inline(f"ends {code(text)}.\n\n{bullets([(code(text), code(text))])}\n\nlast")
    assert {token.type for token in shown} <= {"text", "code_inline"}
    spans = [token.content for token in shown if token.type == "code_inline"]
    assert len(spans) in (0, 3) and len(set(spans)) <= 1
    for span in spans:
        assert len(span) <= LONGEST_CODE + 1
        if text.isascii() and text.isprintable() and len(text) <= LONGEST_CODE:
            assert span == " ".join(text.split())
    assert shown[-1].content == "last"


def rows_of(storage: StudyStorage) -> dict[str, TrialRow]:
    return {row.state: row for row in read_trials(storage, "pets")}


def test_trial_note_shows_state_best_epoch_hyperparameters_and_host(
    searched_study: StudyStorage,
) -> None:
    paths = RunPaths(Path("runs"), "pets").trial(1)
    rows = rows_of(searched_study)
    complete = render_trial_note(rows["complete"], paths, n_epochs=4)
    assert complete.startswith("**complete** after 4 of 4 epochs")
    assert "macro-F1 **0.6100** in epoch 4" in complete
    assert "` learning rate `: `" in complete and "` blocks `: `" in complete
    assert "` node[1] `" in complete and str(Path("runs/pets/trials/00001").absolute()) in complete
    pruned = render_trial_note(rows["pruned"], paths, n_epochs=4)
    assert "after 2 of 4 epochs" in pruned and "` pruned `: ` below the median `" in pruned
    failed = render_trial_note(rows["failed"], paths, n_epochs=4)
    assert "after 0 of 4" in failed and "` exception `: ` <b>no memory</b> `" in failed
    assert "macro-F1" not in failed


def test_trial_note_says_where_an_audited_trial_was_to_be_cut() -> None:
    row = build_row(3, epochs_done=4, attributes={AUDITED: 2})
    note = render_trial_note(row, TrialPaths(Path("3")), n_epochs=4)
    assert "It was to be cut after epoch 2, and ran on for the audit" in note
    plain = render_trial_note(build_row(3), TrialPaths(Path("3")), n_epochs=4)
    assert "to be cut" not in plain


def test_texts_in_a_trial_note_are_no_markup(searched_study: StudyStorage) -> None:
    row = replace(
        rows_of(searched_study)["complete"],
        reason={"kind": EVIL, "message": f"![{EVIL}](http://evil)"},
        params={EVIL: EVIL},
        host=EVIL,
        attributes={"device": EVIL, "seed": EVIL},
    )
    tokens = inline(render_trial_note(row, RunPaths(Path(EVIL), "pets").trial(1), n_epochs=4))
    assert {token.type for token in tokens} <= {
        *("text", "code_inline", "softbreak", "strong_open", "strong_close")
    }
    assert not any("script" in token.content for token in tokens if token.type == "text")


def test_study_note_shows_the_protocol_and_no_password(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path, "pets")
    note = render_study_note(protocol_of(searched_study), paths, [], space=[EVIL])
    for part in ("f" * 64, "d" * 64, "train 90", "torch 2.11.0", "0123abc", "` majority `", "tpe"):
        assert part in note
    assert "hunter2" not in note and "LR finder" not in note
    tokens = inline(note)
    assert not any("html" in token.type or "link" in token.type for token in tokens)
    assert EVIL in [token.content for token in tokens if token.type == "code_inline"]


def test_notes_say_over_which_classes_scores_are_where_some_have_no_images(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    said = "over the 2 classes present of 3"
    protocol, paths = protocol_of(searched_study), RunPaths(tmp_path, "pets")
    assert said not in render_study_note(protocol, paths, [], space=[])
    lacking = replace(protocol, facts=protocol.facts | {"n_validation_classes": 2})
    assert f"- validation macro-F1: the mean {said}" in render_study_note(
        lacking, paths, [], space=[]
    )
    scores = {"macro_f1": 0.5, "accuracy": 0.5, "loss": 1.0}
    metrics: dict[str, object] = {"test": scores, "test_accuracy_standard_error": 0.1}
    metrics |= {"n_test_images": 10, "searched_trial": 1}
    row = rows_of(searched_study)["complete"]
    for known, ending in (({}, ","), ({"n_classes": 3, "n_test_classes": 2}, f" {said},")):
        note = render_trial_note(row, paths.final(0), n_epochs=4, metrics=metrics | known)
        assert f"Test macro-F1 **0.5000**{ending} accuracy" in note


def test_study_note_shows_the_suggestion_of_the_lr_finder(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path, "pets")
    paths.range_test.folder.mkdir(parents=True)
    curve = RateCurve((0.1,), (2.0,), None).as_dict()
    for suggested, says in ((0.1234, "**0.12**"), (None, "No rate is suggested")):
        record = {"suggested_rate": suggested, "n_steps": 300, "curve": curve}
        paths.range_test.record.write_text(json.dumps(record))
        assert says in render_study_note(protocol_of(searched_study), paths, [], space=[EVIL])


def test_study_note_shows_the_differences_of_a_comparison(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    first = rows_of(searched_study)["complete"]
    rows = [
        replace(first, slot=slot, value=value, params={"seed": seed}, attributes={"label": label})
        for slot, (label, seed, value) in enumerate(
            [("base", 0, 0.5), ("base", 1, 0.52), (EVIL, 0, 0.7), (EVIL, 1, 0.71)]
        )
    ]
    for row in rows[2:]:
        row.params["optimization.learning_rate"] = 0.3
    protocol = protocol_of(searched_study)
    search = protocol.configuration["search"] | {"space": "given", "points": [{}] * 4}
    given = replace(protocol, configuration=protocol.configuration | {"search": search})
    note = render_study_note(given, RunPaths(tmp_path, "pets"), rows, space=[])
    assert f"- ` {EVIL} `: macro-F1 0.7050 ± 0.0071, +0.1950: clear" in note
    assert "nothing varies" in note


def test_study_note_begins_with_the_verdict_of_its_confirmation(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    paths, protocol = RunPaths(tmp_path, "pets"), protocol_of(searched_study)
    assert "Confirmation" not in render_study_note(protocol, paths, [], space=[])
    add_confirmation(searched_study, BETTER)
    found = read_confirmation(searched_study, "pets")
    note = render_study_note(protocol, paths, [], space=[], confirmation=found)
    head = "### Confirmation\n\n- **trial 1 is better than the default**\n- mean macro-F1 on 200 "
    assert note.startswith(head)
    assert "- the search said 0.6100" in note.split("### Protocol")[0]


def test_notes_of_confirmation_runs_say_that_they_are_no_trials(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    add_confirmation(searched_study, BETTER)
    paths = RunPaths(tmp_path, "pets")
    rows = read_trials(searched_study, "pets-confirm")
    notes = [render_trial_note(row, paths.confirmation(0), n_epochs=4) for row in rows]
    said = "Confirmation run, no trial of the search: it trains"
    assert f"{said} trial 1 of the search (candidate) with a fresh seed" in notes[0]
    assert "on the images of the search after the last epoch" in notes[0]
    assert f"{said} trial 1 of the search (winner)" in notes[4]
    assert f"{said} the default (control)" in notes[9]
    assert "on the confirmation images after the last epoch" in notes[9]
    trial = read_trials(searched_study, "pets")[0]
    assert said not in render_trial_note(trial, paths.trial(0), n_epochs=4)
    protocol = read_protocol(searched_study.database, "pets-confirm")
    note = render_study_note(protocol, paths, [], space=[])
    assert note.startswith("Runs with fresh seeds that confirm the winner of study ` pets `: no ")


def protocol_of(storage: StudyStorage) -> Protocol:
    return read_protocol(storage.database, "pets")
