import pytest

from study.commands.output import print_metrics

SCORES = {"macro_f1": 0.5, "accuracy": 0.75, "top5_accuracy": 1.0, "loss": 0.25}
REST = "accuracy 0.7500, top-5 accuracy 1.0000, loss 0.2500\n"


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, f"validation: macro-F1 0.5000, {REST}"),  # metrics of an older run
        ({"n_classes": 5, "n_validation_classes": 5}, f"validation: macro-F1 0.5000, {REST}"),
        (
            {"n_classes": 5, "n_validation_classes": 3},
            f"validation: macro-F1 0.5000 over the 3 classes present of 5, {REST}",
        ),
    ],
)
def test_metrics_say_over_which_classes_they_are_where_some_have_no_images(
    capsys: pytest.CaptureFixture[str], known: dict[str, int], said: str
) -> None:
    print_metrics({"validation": SCORES, **known})
    assert capsys.readouterr().out == said
