"""The data report, parsed as a browser would, of small real folders of pictures."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dashboards.errors import DashboardError
from dashboards.figures.base import class_counts_figure, svg
from dashboards.report.data_report import N_DRAWS, write_data_report
from dashboards.terminal.data import data_tables
from data.configuration import AugmentationConfig, DataConfig
from data.image_cache import PreparedData, prepare
from data.sources.encoded_images import LeftOut
from data.splits import SPLITS
from data.statistics import DataDescription, DuplicateCopy, DuplicateExample
from storage.errors import RunFolderError
from storage.run_paths import DataPaths
from tests.dashboards.report.test_report import Page

HOSTILE = "<script>alert(1)<!--"
BASELINES = {"majority": {"accuracy": 0.5, "top5_accuracy": 1.0, "macro_f1": 0.25}}
Prepare = Callable[..., PreparedData]


@pytest.fixture
def prepared_folder(tmp_path: Path) -> Prepare:
    """Prepare a tree of three classes, the second larger, with extra files in the first."""

    def build(
        extra: dict[str, bytes] | None = None, *, second: int = 8, others: int = 5
    ) -> PreparedData:
        random = np.random.default_rng(0)
        for name, n in (("ant", others), ("bee", second), (HOSTILE, others)):
            (tmp_path / "tree" / name).mkdir(parents=True)
            for index in range(n):
                pixels = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "tree" / name / f"{index}.png")
        for name, content in (extra or {}).items():
            (tmp_path / "tree" / name).write_bytes(content)
        values = {"image_size": 8, "broken_images": "drop", "cache": tmp_path / "cache"}
        return prepare(DataConfig.model_validate({"source": str(tmp_path / "tree"), **values}))

    return build


def report(prepared: PreparedData, runs: Path, **options: object) -> tuple[DataPaths, Page]:
    paths = DataPaths(runs, prepared.fingerprint)
    asked = {"augmentation": AugmentationConfig(brightness=0.4), "seed": 3, "baselines": BASELINES}
    write_data_report(prepared, paths, **(asked | options))  # type: ignore[arg-type]
    return paths, Page(paths.report.read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", page.text)


def test_report_shows_splits_classes_channels_and_baselines(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    prepared = prepared_folder()
    paths, page = report(prepared, tmp_path / "runs")
    assert paths.report.parent.name == f"data-{prepared.fingerprint[:12]}"
    assert prepared.fingerprint in page.text
    assert page.tags["svg"] == 3
    assert "not all equally frequent" in page.text
    assert "12x9" in page.text and "RGB" in page.text
    assert all(f"{value:.4f}" in page.text for value in prepared.mean + prepared.std)
    assert "10% held out from " in page.text and "Caution: 3 of 3 classes have" in words(page)
    assert "every file and row of the source is used" in page.text
    assert "every image was decoded" in page.text and "no two images are equal" in page.text
    assert "majority0.250050.00 %" in words(page) and "top-5" not in words(page)


def test_report_lists_uneven_classes_rarest_first_and_hostile_names_as_text(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    prepared = prepared_folder()
    _, page = report(prepared, tmp_path / "runs")
    listed = words(page).split("the rarest in train first")[1].split("As they are stored")[0]
    positions = [listed.index(name) for name in (HOSTILE, "ant", "bee")]
    assert positions == sorted(positions)
    counts = [split[2] for split in prepared.description.class_counts.values()]
    assert f"bee{''.join(map(str, counts))}" in listed
    assert page.tags["script"] == 0


def test_report_of_even_classes_lists_none_of_them(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    _, page = report(prepared_folder(second=5), tmp_path / "runs")
    assert "equally frequent in each split" in page.text
    assert "the rarest in train first" not in page.text


def test_report_names_and_pictures_duplicates_and_names_broken_images(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    red = (tmp_path / "red.png").read_bytes()
    extra = {"ant/red.png": red, f"{HOSTILE}/red.png": red, "bee/broken.png": b"no picture"}
    without = prepared_folder(extra)
    assert without.description.duplicates.n_groups == 1
    _, page = report(without, tmp_path / "runs")
    assert "1 picture is there more than once" in page.text
    assert "the copies of 1 are not all of one class" in words(page)
    assert page.text.count("red.png") == 2
    assert page.tags["img"] == 1 + 8 * (1 + N_DRAWS)
    assert "bee/broken.png" in page.text and "cannot identify" in page.text


def test_report_pictures_no_confirmation_image(
    prepared_folder: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepared_folder(second=20, others=20)

    def copy(split: str, position: int) -> DuplicateCopy:
        return DuplicateCopy(
            split=split, position=position, label=0, source_split="train", name=f"{split}.png"
        )

    closed, half_closed = [
        DuplicateExample(n_copies=2, copies=(copy("confirmation", 0), second))
        for second in (copy("confirmation", 1), copy("test", 0))
    ]
    found = prepared.description.duplicates.model_copy(
        update={"n_groups": 2, "examples": (closed, half_closed)}
    )
    described = prepared.description.model_copy(update={"duplicates": found})
    opened: list[str] = []
    picture = PreparedData.picture
    monkeypatch.setattr(
        PreparedData,
        "picture",
        lambda self, split, position: opened.append(split) or picture(self, split, position),
    )
    _, page = report(replace(prepared, description=described), tmp_path / "runs")
    assert opened == ["test"]
    assert page.tags["img"] == 1 + 8 * (1 + N_DRAWS)
    assert "not opened" in page.text and page.text.count("confirmation.png") == 3
    assert page.tags["svg"] == 4 and "half of the 10% held out from " in words(page)
    assert max(map(len, shown(described, width=80).splitlines())) <= 80


def test_report_says_how_images_became_square(prepared_folder: Prepare, tmp_path: Path) -> None:
    prepared = prepared_folder()
    assert prepared.config is not None
    squashed = prepared.config.model_copy(update={"resize": "squash"})
    _, page = report(replace(prepared, config=squashed), tmp_path / "runs")
    assert "becomes RGB, and is squashed to 8 × 8 pixels" in words(page)


def test_report_lists_what_is_not_used_and_why(prepared_folder: Prepare, tmp_path: Path) -> None:
    prepared = prepared_folder()
    left_out = LeftOut(split="old", reason=HOSTILE, count=1234, examples=("a.png", "b.png"))
    described = prepared.description.model_copy(update={"left_out": (left_out,)})
    _, page = report(replace(prepared, description=described), tmp_path / "runs")
    assert f"1,234old{HOSTILE}a.png, b.png, …" in words(page)
    assert page.tags["script"] == 0


def test_report_needs_nothing_from_elsewhere(prepared_folder: Prepare, tmp_path: Path) -> None:
    _, page = report(prepared_folder(), tmp_path / "runs")
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert page.tags["link"] == 0


def test_report_twice_leaves_one_run_of_pictures_in_tensorboard(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    prepared = prepared_folder()
    for _ in range(2):
        paths, _ = report(prepared, tmp_path / "runs")
    assert len(list(paths.tensorboard.iterdir())) == 1
    events = EventAccumulator(str(paths.tensorboard)).Reload()
    tags = {f"augmentation/after_{draw}" for draw in range(1, N_DRAWS + 1)}
    assert set(events.Tags()["images"]) == {"augmentation/before", *tags}
    (picture,) = events.Images("augmentation/before")
    assert picture.width >= 8 * 8


def test_report_to_a_place_that_is_no_folder_is_rejected(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    (tmp_path / "wall").touch()
    with pytest.raises((DashboardError, RunFolderError), match="cannot"):
        report(prepared_folder(), tmp_path / "wall")


def test_tables_count_duplicates_in_a_line(prepared_folder: Prepare) -> None:
    prepared = prepared_folder()
    assert shown(prepared.description).endswith(
        f"\nduplicates: none\nfingerprint {prepared.fingerprint}\n"
    )
    found = prepared.description.duplicates.model_copy(
        update={"n_groups": 3, "within": {"train": 2}, "across": {"test": {"train": 1, "val": 0}}}
    )
    described = prepared.description.model_copy(update={"duplicates": found})
    assert "\nduplicates: 2 in train, 1 of test in train too\n" in shown(described)


def shown(described: DataDescription, *, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(*data_tables(described))
    return console.export_text()


def test_tables_show_names_of_the_source_as_text(prepared_folder: Prepare) -> None:
    hostile = "a[/red]\x1b]0;b\a"
    left_out = LeftOut(split=hostile, reason=hostile, count=7, examples=(hostile,))
    described = prepared_folder().description.model_copy(
        update={
            "source": hostile,
            "class_names": (hostile, "b\nee", "cat"),
            "origins": dict.fromkeys(SPLITS, hostile),
            "left_out": (left_out,),
        }
    )
    text = shown(described)
    assert text.count("a[/red]?]0;b?") == 1 + 3 + 1 + 3 + 1
    assert "b?ee" in text and "a[/red]?]0;b?, ..." in text


def test_tables_in_80_columns_say_origins_classes_left_out_and_cautions(
    prepared_folder: Prepare,
) -> None:
    left_out = LeftOut(split="Test", reason="no ending of a picture", count=2, examples=("a", "b"))
    described = prepared_folder().description.model_copy(update={"left_out": (left_out,)})
    text = shown(described, width=80)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert re.search(r"train (\w+ )+12 3 to 6 0", flat) and "10% held out" in flat
    assert "ant 3 1 1 bee 6 1 1" in flat
    assert "2 Test no ending of a picture a, b" in flat
    assert [line[:9] for line in text.splitlines()].count("caution: ") == 4


def test_tables_name_even_classes_in_a_line(prepared_folder: Prepare) -> None:
    assert f"\nclasses: {HOSTILE}, ant, bee\n" in shown(prepared_folder(second=5).description)


def test_class_counts_figure_names_few_classes_and_numbers_many() -> None:
    few = class_counts_figure([3, 0, 5], ["cat", HOSTILE, "$dog$"])
    labels = [label.get_text() for label in few.axes[0].get_xticklabels()]
    assert labels[0] == "cat" and labels[2] == "$dog$"
    assert "<script" not in svg(few)
    many = class_counts_figure(list(range(1, 1001)), [f"n{n}" for n in range(1000)])
    assert many.axes[0].get_xlabel() == "class, by number"
    assert len(svg(many)) < 80_000


def test_report_of_many_sizes_shows_the_most_frequent_and_counts_the_others(
    prepared_folder: Prepare, tmp_path: Path
) -> None:
    extra = {}
    for width in range(20, 40):
        Image.new("RGB", (width, 9), (width, 0, 0)).save(tmp_path / "picture.png")
        extra[f"ant/{width}.png"] = (tmp_path / "picture.png").read_bytes()
    _, page = report(prepared_folder(extra), tmp_path / "runs")
    assert "12x9" in page.text
    assert "and 9 more" in page.text
