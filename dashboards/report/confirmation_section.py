"""What the report says of a confirmation: the verdict first, every seed, and a small table.

Must not import torch.
"""

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.analysis.confirmation.reading import Confirmation, read_confirmation
from dashboards.analysis.confirmation.sentences import sentences
from dashboards.figures.confirmation import Strip, strip_figure
from dashboards.report.captioned import CaptionedFigure
from storage.final_groups import CONTROL, WINNER
from storage.records import Protocol
from storage.study_names import follows_a_search
from storage.study_storage import StudyStorage


@dataclass(frozen=True)
class SettingScores:
    """A setting of a confirmation and what its runs came to.

    Attributes:
        trial: Number of the searched trial; None where the default is none.
        role: winner, control or candidate.
        search_score: Best validation macro-F1 of that trial; None of a default that is none.
        selection: Scores of the first stage.
        judged: Scores of the second.
        is_recommended: Whether it is the setting to take.
    """

    trial: int | None
    role: str
    search_score: float | None
    selection: Sequence[float]
    judged: Sequence[float]
    is_recommended: bool

    @property
    def label(self) -> str:
        """What people call it: `trial 7`, `default (trial 0)`."""
        if self.role != CONTROL:
            return f"trial {self.trial}"
        return "default" if self.trial is None else f"default (trial {self.trial})"

    @property
    def mean_judged(self) -> float | None:
        """Mean score of the second stage; None where it has none."""
        return mean_of(self.judged)


@dataclass(frozen=True)
class ConfirmationSection:
    """A confirmation as the report shows it.

    Attributes:
        found: What it has shown.
        headline: The verdict in a sentence, or how far it is.
        details: What it rests on, a sentence each.
        settings: The winner and the default first.
        figure: The score of every seed; None before the first.
    """

    found: Confirmation
    headline: str
    details: Sequence[str]
    settings: Sequence[SettingScores]
    figure: CaptionedFigure | None

    @property
    def recommended(self) -> SettingScores | None:
        """The setting to take; None before the end."""
        return next((one for one in self.settings if one.is_recommended), None)

    def fresh_scores(self, number: int) -> Sequence[float]:
        """Return the scores of the first stage of a trial; none where it was no candidate."""
        return next((one.scores for one in self.found.candidates if one.number == number), ())


def read_confirmation_section(
    storage: StudyStorage, study_name: str
) -> ConfirmationSection | None:
    """Return what there is to say of a study's confirmation; None where it has none."""
    found = read_confirmation(storage, study_name)
    if found is None:
        return None
    headline, *details = sentences(found)
    settings = list_settings(found)
    return ConfirmationSection(found, headline, details, settings, _figure(found, settings))


def suggest_confirmation(protocol: Protocol, *, is_search: bool) -> str | None:
    """Return the command that confirms the winner; None where nothing was searched."""
    if not is_search or follows_a_search(protocol.study_name):
        return None
    return f"study confirm --name {shlex.quote(protocol.study_name)}"


def list_settings(found: Confirmation) -> list[SettingScores]:
    """Return the settings of a confirmation: winner, default, then the other candidates."""
    winner = found.winner
    listed = [
        SettingScores(
            trial=one.number,
            role=_role(one.number, found),
            search_score=one.search_score,
            selection=one.scores,
            judged=_judged(one.number, found),
            is_recommended=one.number == found.recommended,
        )
        for one in found.candidates
    ]
    control = next((run for run in found.runs if run.role == CONTROL), None)
    if control is not None and all(one.role != CONTROL for one in listed):
        listed.append(
            SettingScores(
                trial=control.searched_trial,
                role=CONTROL,
                search_score=None,
                selection=(),
                judged=found.control_scores,
                is_recommended=found.recommended is not None
                and control.searched_trial == found.recommended,
            )
        )
    is_first = [winner is not None and one.trial == winner.number for one in listed]
    order = sorted(range(len(listed)), key=lambda i: (not is_first[i], listed[i].role != CONTROL))
    return [listed[place] for place in order]


def _role(number: int, found: Confirmation) -> str:
    if found.is_selected and number == found.control:
        return CONTROL
    is_winner = found.winner is not None and number == found.winner.number
    return WINNER if is_winner else "candidate"


def _judged(number: int, found: Confirmation) -> Sequence[float]:
    role = _role(number, found)
    if role == CONTROL:
        return found.control_scores
    return found.winner_scores if role == WINNER else ()


def _figure(found: Confirmation, settings: Sequence[SettingScores]) -> CaptionedFigure | None:
    selection = [
        Strip(one.label, one.selection, one.search_score, one.is_recommended)
        for one in settings
        if one.search_score is not None
    ]
    judged = [
        Strip(one.label, one.judged, None, one.is_recommended) for one in settings if one.judged
    ]
    if not any(strip.scores for strip in selection):
        return None
    second = "confirmation images" if found.is_on_own_images else "the search's images, again"
    figure = strip_figure([("the search's images", selection), (second, judged)])
    caption = (
        "A point for each run with a fresh seed, after its last epoch; a diamond is the score "
        "that the search reported, its best epoch of one seed. The two groups have different "
        "images, so compare within a group."
    )
    return CaptionedFigure("Every seed", caption, figure)


def mean_of(scores: Sequence[float]) -> float | None:
    """Return the mean of scores, None where there are none."""
    return statistics.fmean(scores) if scores else None


def deviation_of(scores: Sequence[float]) -> float | None:
    """Return the standard deviation of scores, None where there are fewer than two."""
    return statistics.stdev(scores) if len(scores) > 1 else None
