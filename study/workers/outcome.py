"""How an attempt at a trial ended, as the worker reports it."""

from dataclasses import dataclass

from optuna.trial import TrialState

BEST_SCORE = "best validation macro-F1"
JUDGED_SCORE = "macro-F1 after the last epoch"


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a trial ended.

    Attributes:
        state: Reported to Optuna; WAITING releases the trial.
        ending: complete, pruned, diverged, out of memory, exception, preempted or lost.
        value: Of a complete trial.
        message: Why it ended early.
        traceback: Tail of the traceback of an exception.
        measure: What the value is.
    """

    state: TrialState
    ending: str
    value: float | None = None
    message: str | None = None
    traceback: str | None = None
    measure: str = BEST_SCORE

    @property
    def reason(self) -> dict[str, str] | None:
        """What is noted with a trial that ended early."""
        if self.message is None or self.state == TrialState.WAITING:
            return None
        reason = {"kind": self.ending, "message": self.message}
        return reason | {"traceback": self.traceback} if self.traceback else reason

    @property
    def line(self) -> str:
        """The same in words, for the worker's log."""
        if self.value is not None:
            return f"{self.ending}: {self.measure} {self.value:.4f}"
        said = f"{self.ending}: {self.message}" if self.message else self.ending
        return f"released, {said}" if self.state == TrialState.WAITING else said
