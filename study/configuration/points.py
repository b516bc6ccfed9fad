"""Points that a study is given instead of drawing them: settings by dotted key, and a label.

A point may set whatever belongs to the network, its optimisation or the augmentation, and the
seed; what it leaves out is configured. In Optuna each setting that any point gives is a
categorical parameter of every trial. Must not import optuna: a trial only suggests values.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from study.configuration.dotted_keys import value_at
from study.configuration.given_values import suggest_near
from study.configuration.search_space import Choice, TrialLike, as_choice, suggest
from study.errors import ConfigurationError

if TYPE_CHECKING:
    from study.configuration.config import StudyConfig

SEED = "seed"
LABEL = "label"
SECTIONS = ("network", "optimization", "augmentation")
NO_SEARCH = {"search.space": "fixed", "search.points": (), "search.budget": {"trials": 1}}
"""Settings of a configuration that varies nothing."""

Settings = Mapping[str, Any]


def at_point(config: "StudyConfig", settings: Settings) -> "StudyConfig":
    """Return the configuration of one run: with settings in the place of a study's own.

    Args:
        config: What applies where the settings say nothing.
        settings: Values by dotted key.

    Raises:
        ConfigurationError: If the settings are none, or do not fit together.
    """
    if not config.search.points:
        return config.replacing(settings) if settings else config
    return config.replacing({**NO_SEARCH, **settings})


def checked_points(config: "StudyConfig", *, known: Sequence[str]) -> "StudyConfig":
    """Return a configuration whose points hold plain values of the settings' own types.

    Args:
        config: A configuration that is valid but for its points.
        known: The dotted keys of all settings.

    Raises:
        ConfigurationError: If a point has a foreign key, makes no valid configuration, or repeats
            another one; the message names the point.
    """
    if not config.search.points:
        return config
    allowed = [key for key in known if key == SEED or key.partition(".")[0] in SECTIONS]
    points = []
    for index, point in enumerate(config.search.points):
        where = f"search.points[{index}]"
        _reject_foreign_keys(point, allowed, where)
        points.append(_plain(config, point, where))
    checked = config.replacing({"search.points": points})
    _reject_repetitions(checked)
    return checked


def _reject_foreign_keys(point: Settings, allowed: Sequence[str], where: str) -> None:
    for key in point:
        if key not in allowed and key != LABEL:
            remedy = suggest_near(key, [*allowed, LABEL], otherwise="see `study config`")
            raise ConfigurationError(
                f"{where}: a point sets network, optimization, augmentation, seed or label, "
                f"got {key}: {remedy}"
            )
    label = point.get(LABEL, "-")
    if not isinstance(label, str) or not label.strip():
        raise ConfigurationError(f"{where}: label must be a text, got {label!r}: name the point")


def _plain(config: "StudyConfig", point: Settings, where: str) -> Settings:
    settings = settings_of(point)
    try:
        found = at_point(config, settings)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    values = {key: value_at(found, key) for key in settings}
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return plain | ({LABEL: point[LABEL]} if LABEL in point else {})


def _reject_repetitions(config: "StudyConfig") -> None:
    """Reject a point that repeats another, and a label on points that differ in more than seed."""
    keys = given_keys(config)
    first_of_settings: dict[tuple[Choice, ...], int] = {}
    settings_of_label: dict[str, tuple[int, dict[str, Choice]]] = {}
    for index, params in enumerate(given_params(config)):
        same = first_of_settings.setdefault(tuple(params[key] for key in keys), index)
        if same != index:
            raise ConfigurationError(
                f"search.points[{index}] must differ from search.points[{same}], it sets the "
                "same values: leave it out, or give it another seed"
            )
        label = config.search.points[index].get(LABEL)
        if label is None:
            continue
        setting = unseeded(params)
        earlier, named = settings_of_label.setdefault(label, (index, setting))
        if named != setting:
            raise ConfigurationError(
                f"search.points[{index}] and search.points[{earlier}] have the label {label!r} "
                "and must differ in their seed only: give another label"
            )


def settings_of(point: Settings) -> Settings:
    """Return what a point sets, without its label."""
    return {key: value for key, value in point.items() if key != LABEL}


def unseeded(params: Settings) -> dict[str, Any]:
    """Return the parameters of a run without its seed: what it shares with its repetitions."""
    return {key: value for key, value in params.items() if key != SEED}


def given_keys(config: "StudyConfig") -> list[str]:
    """Return the settings that any point of a study gives, the earliest first."""
    keys = (key for point in config.search.points for key in settings_of(point))
    return list(dict.fromkeys(keys))


def given_params(config: "StudyConfig") -> list[dict[str, Choice]]:
    """Return each point as Optuna's parameters: all given settings, the configured ones too."""
    return [
        {key: as_choice(value) for key, value in point.items()} for point in _whole_points(config)
    ]


def _whole_points(config: "StudyConfig") -> Iterator[Settings]:
    keys = given_keys(config)
    for point in config.search.points:
        found = at_point(config, settings_of(point))
        yield {key: value_at(found, key) for key in keys}


def ask_settings(trial: TrialLike, config: "StudyConfig") -> dict[str, Any]:
    """Ask a trial for the settings of its point; none where a study's points are not given.

    Args:
        trial: Optuna's trial, with fixed parameters; one that is resumed answers the same.
        config: Configuration of the study.
    """
    values: dict[str, dict[Choice, Any]] = {key: {} for key in given_keys(config)}
    for point in _whole_points(config):
        for key, value in point.items():
            values[key][as_choice(value)] = value
    return {
        key: by_choice[trial.suggest_categorical(key, list(by_choice))]
        for key, by_choice in values.items()
    }


def configured_by(trial: TrialLike, config: "StudyConfig") -> tuple["StudyConfig", dict[str, Any]]:
    """Ask a trial what it is.

    Returns:
        The study's configuration with the trial's settings in place, and these by dotted key:
        those of its point where points are given, else what the study searches.
    """
    settings = ask_settings(trial, config) or suggest(trial, config)
    return at_point(config, settings), settings
