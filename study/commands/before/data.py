"""Commands that look at data, before the first study of them or beside it."""

import sys
from dataclasses import asdict

import click

from dashboards.analysis.baselines import baselines_table
from dashboards.terminal.data import data_tables
from data.cautions import cautions
from data.image_cache import prepare
from data.sources.opening import verify_source
from storage.run_folders import mark_runs
from storage.run_paths import DataPaths
from study.checks.baselines import find_learned, learned, measure_guesses
from study.commands.options import DATA, LOCATION, command, json_option
from study.commands.output import print_json, print_rich
from study.configuration.config import Request
from study.progress import say, track
from study.session.data_choice import chosen_configuration
from study.trial.dashboard_notes import note_studies_on

MOST_NAMES = 20


@command("data", LOCATION, DATA)
@json_option
@click.option("--verify", is_flag=True, help="Read every file again, even if it looks unchanged.")
def _data(request: Request, as_json: bool, verify: bool) -> None:
    config = chosen_configuration(request)
    if verify:
        _say_changed(verify_source(config.data))
    prepared = prepare(config.data, track=track)
    described = prepared.description
    if as_json:
        print_json(described.model_dump(mode="json") | {"cautions": cautions(described)})
        return

    from dashboards.report.data_report import write_data_report

    print_rich(*data_tables(described))
    learned = find_learned(prepared, config.storage.runs)
    paths = DataPaths(config.storage.runs, prepared.fingerprint)
    mark_runs(paths.folder)
    write_data_report(
        prepared,
        paths,
        augmentation=config.augmentation,
        seed=config.seed,
        baselines=measure_guesses(prepared) | (learned.scores if learned else {}),
    )
    say(f"the report is {paths.report}, its pictures are in `study tensorboard --all` too")


def _say_changed(names: list[str]) -> None:
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    said = (
        f"changed although size, time and inode are the same: {', '.join(names[:MOST_NAMES])}"
        if names
        else "no file has changed without a change of its size, time or inode"
    )
    print(f"{said}{rest}", file=sys.stderr)


@command("baselines", LOCATION, DATA)
@json_option
def _baselines(request: Request, as_json: bool) -> None:
    config = chosen_configuration(request)
    prepared = prepare(config.data, track=track)
    found = learned(
        prepared, config.storage.runs, announce=lambda text: print(text, file=sys.stderr)
    )
    scores = measure_guesses(prepared) | found.scores
    n_validation = prepared.description.counts["validation"]
    if as_json:
        print_json(asdict(found) | {"scores": scores, "n_validation_images": n_validation})
    else:
        print_rich(
            baselines_table(
                scores,
                n_train=found.n_train_images,
                n_validation=n_validation,
                n_classes=prepared.n_classes,
            )
        )
    note_studies_on(prepared.fingerprint, config.storage)
