"""The model card, in the form of the Hugging Face hub: front matter for programs, then a page.

Texts from data are code, within which the hub sees no markup. Nothing here opens the images.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from dashboards.formatting import bullets, code, shown_classes, shown_value, shows_top5
from data.sources.opening import HUB_ID
from model.export import ExportedConfig
from storage.records import Protocol
from study.configuration.config import StudyConfig
from study.export.kept_run import KeptRun
from study.export.loading import with_onnx_runtime, with_this_program, with_torch
from study.trial.saved_weights import saved_config

TASK = "image-classification"
MOST_LISTED_CLASSES = 20
METRIC_NAMES = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "loss": "cross-entropy in nats",
}
RESIZE_RULES = {
    "crop": "the largest centred square, reduced",
    "pad": "the whole image, reduced and centred on black",
    "squash": "the whole image, squashed",
}
NAMED_SETTINGS = {
    "network": ("blocks", "widths", "dropout"),
    "optimization": ("optimizer", "learning_rate", "weight_decay", "schedule", "batch_size"),
    "augmentation": ("flip_probability", "crop"),
}
"""By section: what a card says of every recipe."""


@dataclass(frozen=True)
class Described:
    """All that a model card says.

    Attributes:
        exported: What the model folder says of its model.
        trained: The configuration that the weights were trained with.
        protocol: What was found of the data when the run was queued.
        n_parameters: Trainable numbers of the network.
        n_epochs: Epochs that the run took.
        classes: Rows of the scores by class on the test images; empty without a test.
    """

    exported: ExportedConfig
    trained: StudyConfig
    protocol: Protocol
    n_parameters: int
    n_epochs: int
    classes: Sequence[dict[str, str]]

    @classmethod
    def of(cls, run: KeptRun, exported: ExportedConfig) -> Self:
        """Read what is to be said of a run."""
        classes: Sequence[dict[str, str]] = ()
        if run.test is not None:
            with run.paths.per_class.open(newline="") as file:
                classes = list(csv.DictReader(file))
        return cls(
            exported=exported,
            trained=saved_config(run.checkpoint),
            protocol=run.session.protocol,
            n_parameters=run.row.attributes["n_parameters"],
            n_epochs=run.row.epochs_done,
            classes=classes,
        )

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured, as in `config.json`."""
        return self.exported.metrics

    @property
    def origin(self) -> dict[str, Any]:
        """Where the weights come from, as in `config.json`."""
        return self.exported.origin

    @property
    def is_tested(self) -> bool:
        """Whether the weights are those of a final run after its test."""
        return "test" in self.metrics

    @property
    def is_rounded(self) -> bool:
        """Whether the network computed in bfloat16 while it was trained and measured."""
        precision, device = self.trained.execution.precision, str(self.origin["device"])
        return precision == "bfloat16" or (precision == "auto" and device.startswith("cuda"))

    @property
    def hub_data(self) -> str | None:
        """Name of the data on the hub, None where they come from elsewhere."""
        source = str(self.origin["data_source"])
        is_folder = self.protocol.data_source != source
        return source if HUB_ID.fullmatch(source) and not is_folder else None


def write_card(path: Path, described: Described) -> None:
    """Write the card of a model.

    Args:
        path: Of the file.
        described: What it says.

    Raises:
        OSError: If it cannot be written.
    """
    path.write_text(str(build_card(described)), encoding="utf-8")


def build_card(described: Described) -> ModelCard:
    """Return the card of a model."""
    parts = [
        f"# {code(described.origin['study'])}: an image classifier",
        _summary(described),
        "## Intended use",
        _intended_use(described),
        "## Data",
        _data(described),
        "## Recipe",
        _recipe(described),
        "## Results",
        _results(described),
        "## Limits",
        _limits(described),
        "## How to load",
        _how_to_load(described.exported),
    ]
    page = "\n\n".join(part for part in parts if part)
    return ModelCard(f"---\n{front_matter(described).to_yaml()}\n---\n\n{page}\n")


def front_matter(described: Described) -> ModelCardData:
    """Return what programs read of the card; it names no licence, for nobody here chose one."""
    hub_data = described.hub_data
    return ModelCardData(
        library_name="pytorch",
        pipeline_tag=TASK,
        tags=[TASK, "pytorch", "safetensors", "onnx", "resnet"],
        datasets=[hub_data] if hub_data else None,
        metrics=["accuracy", "f1"],
        model_name=described.origin["study"],
        eval_results=list(_eval_results(described)),
    )


def _eval_results(described: Described) -> Iterator[EvalResult]:
    split = "test" if described.is_tested else "validation"
    values = described.metrics[split]
    source = str(described.origin["data_source"])
    for kind, name, key, settings in (
        ("accuracy", "accuracy", "accuracy", None),
        ("f1", "macro-F1", "macro_f1", {"average": "macro"}),
    ):
        yield EvalResult(
            task_type=TASK,
            task_name="Image Classification",
            dataset_type=described.hub_data or "custom",
            dataset_name=source,
            dataset_config=described.trained.data.configuration,
            dataset_split=split,
            metric_type=kind,
            metric_name=name,
            metric_value=values[key],
            metric_args=settings,
        )


def _summary(described: Described) -> str:
    origin, n_classes = described.origin, len(described.exported.class_names)
    run = (
        f"the final run of trial {origin['trial']}, the winner of its search"
        if described.is_tested
        else f"trial {origin['trial']} of a search, **not its final run**"
    )
    return (
        f"A residual network of {described.n_parameters:,} parameters that tells {n_classes:,} "
        f"classes apart in RGB images of {described.exported.image_size} pixels a side. These are "
        f"the weights of {run}, after epoch {origin['epoch']} of {described.n_epochs}."
    )


def _intended_use(described: Described) -> str:
    exported = described.exported
    names = [code(name) for name in exported.class_names[:MOST_LISTED_CLASSES]]
    n_more = len(exported.class_names) - len(names)
    more = f" and {n_more:,} more, in `config.json`" if n_more else ""
    size = exported.image_size
    return "\n\n".join(
        [
            "To classify images like those it was trained on, into one of these classes: "
            f"{', '.join(names)}{more}.",
            f"It takes {size} x {size} RGB images: {RESIZE_RULES[exported.resize]} to this size "
            "(`study predict` prepares any image as the training did).",
        ]
    )


def _data(described: Described) -> str:
    protocol, origin = described.protocol, described.origin
    facts = [("source", code(origin["data_source"]))]
    if described.trained.data.configuration is not None:
        facts.append(("configuration", code(described.trained.data.configuration)))
    facts.append(("fingerprint", code(origin["data_fingerprint"])))
    splits = _table(
        ["split", "images", "origin"],
        [
            [split, f"{count:,}", _cell(protocol.origins.get(split, "not noted"))]
            for split, count in protocol.facts["n_examples"].items()
        ],
        numbers={1},
    )
    left_out = [(f"{one['count']:,} not used", code(one["reason"])) for one in protocol.left_out]
    return "\n\n".join(filter(None, [bullets(facts), splits, bullets(left_out)]))


def _recipe(described: Described) -> str:
    origin = described.origin
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    facts = [
        ("epochs", f"{described.n_epochs} of at most {described.trained.search.n_epochs}"),
        ("seed", str(origin["seed"])),
        ("device", code(origin["device"])),
        ("program", code(origin["program"])),
        ("git revision", code(origin["git_revision"] or "not noted")),
        ("source digest", code(origin["source_digest"] or "not noted")),
        ("versions", code(versions)),
    ]
    settings = _table(
        ["setting", "value"], [[f"`{key}`", value] for key, value in _settings(described)]
    )
    note = "All other settings of network, optimization and augmentation have their defaults."
    return "\n\n".join([bullets(facts), settings, note])


def _settings(described: Described) -> Iterator[tuple[str, str]]:
    """Yield the settings that make the recipe: those always named, and what is no default."""
    default = StudyConfig().model_dump(mode="json")
    trained = described.trained.model_dump(mode="json")
    for section, always in NAMED_SETTINGS.items():
        for name, value in trained[section].items():
            if name in always or value != default[section][name]:
                yield f"{section}.{name}", _shown_setting(value)


def _shown_setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown_setting(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown_setting, value))
    if isinstance(value, bool):
        return str(value).lower()
    return shown_value(value, digits=6)


def _results(described: Described) -> str:
    if not described.is_tested:
        return "\n\n".join(
            [
                "Validation images only: this is not the final run, so these weights were "
                "**not tested**. The epoch was chosen by the same images, and the trial maybe "
                "too: expect less of new ones.",
                _scores(described, ["validation"]),
            ]
        )
    metrics = described.metrics
    n_evaluations = metrics["n_test_evaluations"]
    times = "once" if n_evaluations == 1 else f"{n_evaluations} times"
    return "\n\n".join(
        [
            f"The test split, {metrics['n_test_images']:,} images, was opened {times}. The "
            "validation images chose the hyperparameters and the epoch.",
            _scores(described, ["validation", "test"]),
            "Each class on the test images:",
            _table(
                ["class", "precision", "recall", "F1", "images"],
                [
                    [
                        _cell(row["class_name"]),
                        *(f"{float(row[name]):.4f}" for name in ("precision", "recall", "f1")),
                        f"{int(row['support']):,}",
                    ]
                    for row in described.classes
                ],
                numbers={1, 2, 3, 4},
            ),
        ]
    )


def _scores(described: Described, splits: Sequence[str]) -> str:
    metrics, n_classes = described.metrics, len(described.exported.class_names)
    rows = []
    for key, name in METRIC_NAMES.items():
        if key == "top5_accuracy" and not shows_top5(n_classes):
            continue
        row = [name, *(f"{metrics[split][key]:.4f}" for split in splits)]
        if described.is_tested:
            error = metrics.get(f"test_{key}_standard_error")
            row.append("" if error is None else f"{error:.4f}")
        rows.append(row)
    head = ["", *splits, *(["standard error (test)"] if described.is_tested else [])]
    return _table(head, rows, numbers=set(range(1, len(head))))


def _limits(described: Described) -> str:
    n_classes = len(described.exported.class_names)
    limits = [
        f"It answers with one of its {n_classes:,} classes whatever the image shows.",
        "Whether its probabilities can be taken at their word (calibration) was not measured.",
        "Scores hold for images like those of its data, prepared in the same way.",
    ]
    present = described.metrics.get("n_test_classes", n_classes)
    if classes := shown_classes(present, n_classes):
        limits.append(f"Its test macro-F1 is{classes}: the others have no test image.")
    if described.is_rounded:
        limits.append("It was measured in bfloat16; in float32 its logits differ a little.")
    limits += [code(caution) for caution in described.protocol.cautions]
    limits.append("This card states no licence: whoever publishes the model chooses one.")
    return "\n".join(f"- {limit}" for limit in limits)


def _how_to_load(exported: ExportedConfig) -> str:
    programs = [
        ("With torch and safetensors, in this folder:", with_torch(exported)),
        ("With onnxruntime, in this folder:", with_onnx_runtime(exported)),
        ("With the program that trained it installed:", with_this_program(exported)),
    ]
    blocks = [f"{title}\n\n```python\n{program}```" for title, program in programs]
    return "\n\n".join(blocks)


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: set[int] | None = None
) -> str:
    """Return a Markdown table whose columns of numbers are aligned to the right."""
    marks = ["---:" if column in (numbers or ()) else "---" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, marks, *rows])


def _cell(text: object) -> str:
    return code(text).replace("|", "\\|")
