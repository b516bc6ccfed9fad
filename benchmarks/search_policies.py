"""How a search may go: the product's settings, or others that are measured beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from benchmarks.seen_study import (
    View,
    show_as_pruned,
    show_as_running,
    show_as_stored,
    show_last_values,
)
from storage.promotion import FACTOR, rung_epochs
from study.configuration.config import StudyConfig
from study.configuration.sections import SearchConfig
from study.trial.samplers import build_pruner


@dataclass(frozen=True)
class Policy:
    """How to search.

    Attributes:
        name: What the table calls it.
        search: The settings of the product.
        pruner: Builds another pruner than the product's, for schedules of so many steps.
        factor: With promotion, one of so many trials at a rung goes on; without, none pauses.
        view: How the sampler sees a trial.
    """

    name: str
    search: SearchConfig
    pruner: Callable[[int], BasePruner] | None = None
    factor: int | None = None
    view: View = show_as_stored

    def build_pruner(self, n_steps: int) -> BasePruner:
        """Return its pruner for schedules of so many steps."""
        if self.pruner is not None:
            return self.pruner(n_steps)
        search = self.search.model_copy(
            update={"n_epochs": n_steps, "pruner_warmup_epochs": n_steps // 2}
        )
        config = StudyConfig()
        optimization = config.optimization.model_copy(update={"warmup_epochs": 0})
        return build_pruner(
            config.model_copy(update={"search": search, "optimization": optimization})
        )

    def rungs(self, n_steps: int) -> list[int]:
        """Return the steps after which trials pause."""
        if self.factor is None:
            return []
        return rung_epochs(self.search.rungs, n_epochs=n_steps, warmup_epochs=0)


def policies() -> list[Policy]:
    """Return what is compared."""
    return [*optunas_pruners(), *rung_policies(), *promotion_variants(), *gp_policies()]


def optunas_pruners() -> list[Policy]:
    """Return the search without pruning and with each of Optuna's pruners for learning curves.

    Wilcoxon's test is for values whose order means nothing, such as those of folds.
    """
    default = SearchConfig()
    return [
        Policy("none", settings(pruner="none")),
        Policy("percentile 75 from 50 %", settings(pruner="percentile")),
        Policy("percentile 66 from 10 %", default, percentile),
        Policy("median from 50 %", settings(pruner="median")),
        Policy("median from 10 %", default, median),
        Policy("Optuna's halving from 10 %", default, halving),
        Policy("Hyperband, factor 3", default, hyperband),
    ]


def rung_policies() -> list[Policy]:
    """Return the product's own rungs: the cut, and promotion."""
    return [
        Policy("cut at 10, 20, 40 %", settings(pruner="rungs")),
        promotion("promotion at 10, 20, 40 %"),
        promotion("promotion at 10, 25, 50 %", rungs=(0.1, 0.25, 0.5)),
        Policy("random", settings(sampler="random", pruner="none")),
        Policy("random, cut", settings(sampler="random", pruner="rungs")),
        promotion("random, promotion", sampler="random"),
    ]


def promotion_variants() -> list[Policy]:
    """Return promotion with another factor, or with paused trials seen in another way."""
    return [
        promotion("promotion, factor 3 at 10, 30 %", factor=3, rungs=(0.1, 0.3)),
        promotion("promotion, paused hidden", view=show_as_stored),
        promotion("promotion, paused as running", view=show_as_running),
    ]


def gp_policies() -> list[Policy]:
    """Return the search by Gaussian process."""
    return [
        Policy("GP", settings(sampler="gp", pruner="none")),
        promotion("GP on last values, promotion", sampler="gp", view=show_last_values),
    ]


def settings(**changes: Any) -> SearchConfig:
    """Return the validated default settings of the search with some changes."""
    return SearchConfig.model_validate(SearchConfig().model_dump() | changes)


def promotion(
    name: str, *, factor: int = FACTOR, view: View = show_as_pruned, **changes: Any
) -> Policy:
    """Return a policy in which trials pause at rungs, and nothing else ends them."""
    search = settings(pruner="none", **changes)
    return Policy(name, search, factor=factor, view=view)


def percentile(n_steps: int) -> BasePruner:
    """Return Optuna's percentile pruner from a tenth of the schedule, keeping two thirds."""
    return PercentilePruner(66, n_warmup_steps=n_steps // 10)


def median(n_steps: int) -> BasePruner:
    """Return Optuna's median pruner from a tenth of the schedule."""
    return MedianPruner(n_warmup_steps=n_steps // 10)


def halving(n_steps: int) -> BasePruner:
    """Return Optuna's successive halving from a tenth of the schedule."""
    return SuccessiveHalvingPruner(min_resource=max(1, n_steps // 10), reduction_factor=2)


def hyperband(n_steps: int) -> BasePruner:
    """Return Optuna's Hyperband."""
    return HyperbandPruner(
        min_resource=max(1, n_steps // 10), max_resource=n_steps, reduction_factor=3
    )
