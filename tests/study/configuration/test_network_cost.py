from typing import Any

import pytest

from study.configuration.config import validated
from study.configuration.network_cost import find_costly_stem
from tests.study.conftest import Call

WIDE = {"widths": [64, 128, 256], "blocks": [2, 2, 2]}
STEM = {"stride": 2, "pool": True}
FIXED = {"space": "fixed", "budget": {"trials": 1}}


def caution(
    *, data: int = 64, final: int = 64, network: dict[str, Any] = WIDE, search: dict[str, Any]
) -> str | None:
    values = {"data": {"image_size": data}, "final": {"image_size": final}}
    config = validated({**values, "network": network, "search": search})
    return find_costly_stem(config, n_classes=1000)


def test_photos_with_the_default_stem_are_cautioned_about_with_figure_and_remedy() -> None:
    assert caution(data=224, search=FIXED) == (
        "caution: the largest network (blocks 2-2-2) takes 20.6 GMAC for each image of 224 "
        "pixels, 11 times ResNet-18's 1.8 at 224: set network.stem.stride=2 and "
        "network.stem.pool=true, or a smaller data.image_size"
    )


@pytest.mark.parametrize(
    ("search", "blocks"),
    [
        ({"space": {"network.blocks": {"low": 1, "high": 5}}}, "5-5-5"),
        (
            {
                "space": {
                    "network.widths": {"choices": [[64, 128], [64, 128, 256, 512]]},
                    "network.blocks": {"low": 1, "high": 2},
                }
            },
            "2-2-2-2",
        ),
        ({"space": "lr-wd"}, "2-2-2"),
        (
            {
                "space": "given",
                "budget": {"trials": 2},
                "points": [{"network.blocks": [3, 1, 4]}, {"network.blocks": [1, 1, 1]}],
            },
            "3-1-4",
        ),
    ],
)
def test_caution_is_of_the_largest_network_that_may_be_trained(
    search: dict[str, Any], blocks: str
) -> None:
    found = caution(data=128, search=search)
    assert found is not None and f"(blocks {blocks})" in found


def test_caution_names_the_larger_of_the_two_sizes_and_what_the_stem_still_lacks() -> None:
    found = caution(final=224, network=WIDE | {"stem": {"stride": 2}}, search=FIXED)
    assert found is not None
    assert found.endswith("at 224: set network.stem.pool=true, or a smaller final.image_size")


@pytest.mark.parametrize(
    "fits",
    [
        {"data": 96, "final": 96},
        {"data": 224, "network": {"widths": [8, 16, 32]}},
        {"data": 224, "network": {"widths": [64, 128, 256, 512], "blocks": [2] * 4, "stem": STEM}},
    ],
)
def test_small_images_narrow_networks_and_the_stem_of_resnet_need_no_caution(
    fits: dict[str, Any],
) -> None:
    assert caution(**fits, search=FIXED) is None


def test_init_says_the_caution_in_one_line(call: Call, config_file: str) -> None:
    small = call("init", "--config", config_file)
    assert small.code == 0 and "GMAC" not in small.out
    large = ["--set", "final.image_size=224", "--set", "network.widths=[64,128,256]"]
    ended = call("init", "--config", config_file, *large, "--name", "photos")
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if "GMAC" in line]
    assert line.startswith("caution: ") and "takes 20.6 GMAC" in line
    assert line.endswith("or a smaller final.image_size")
