"""What a metric's name alone tells, without any test set."""

from dataclasses import replace
from fractions import Fraction

import pytest
from chains import ChainMaker

from fedcoin_cli.contract.metric import (
    KINDS,
    Metric,
    blocks_of,
    entry_bytes,
    exact_bytes,
    forms,
    natural,
    read_metric,
)

TASK = ChainMaker(4).task()


@pytest.mark.parametrize(
    ("images", "block_images", "blocks"), [(1, 255, 1), (16, 16, 1), (17, 16, 2), (1_000, 16, 63), (5, 1, 5)]
)
def test_how_many_blocks_there_are(images: int, block_images: int, blocks: int) -> None:
    """As few as hold all images; a metric that is no sum over images has one of all [P-6.15]."""
    task = replace(TASK, images=images, block_images=block_images)
    assert blocks_of(task) == blocks
    assert blocks_of(replace(task, metric="roc_auc")) == blocks_of(replace(task, metric="f1_macro")) == 1


@pytest.mark.parametrize(
    ("metric", "whole", "block_images", "width"),
    [
        ("accuracy", 1_000, 255, 1),
        ("top_k_accuracy:2", 1_000, 255, 1),
        ("neg_log_loss:1", 4_095_000, 16, 2),
        ("neg_log_loss:1", 4_095_000, 17, 3),
        ("neg_log_loss:1", 4_095, 16, 2),
        ("balanced_accuracy", 2**32 - 1, 16, 4),
        ("balanced_accuracy", 200, 16, 1),
        ("roc_auc", 2**16 - 1, 16, 2),
        ("roc_auc", 2**16, 16, 3),
        ("f1", 10**9, 16, 4),
        ("neg_mean_squared_error:1", 4_095_000, 16, 2),
        ("token_accuracy", 255, 16, 1),
        ("token_accuracy", 32_000, 16, 2),
        ("neg_log_perplexity:7", 4_095 * 32_000, 16, 4),
    ],
)
def test_how_wide_an_entry_is(metric: str, whole: int, block_images: int, width: int) -> None:
    """As many bytes as the most that a block can be worth needs, and no block is worth more than all [P-12.12]."""
    task = replace(TASK, metric=metric, whole=whole, block_images=block_images)
    assert entry_bytes(task) == width


@pytest.mark.parametrize(("whole", "width"), [(1, 4), (2**32 - 1, 4), (2**32, 5), (2**53 - 1, 7)])
def test_how_wide_an_entry_of_all_images_is(whole: int, width: int) -> None:
    """Four bytes, and more where a whole needs them [P-12.12]."""
    assert exact_bytes(replace(TASK, whole=whole)) == width


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("accuracy", Metric("accuracy")),
        ("top_k_accuracy:10", Metric("top_k_accuracy", Fraction(10))),
        ("neg_log_loss:2.5", Metric("neg_log_loss", Fraction(5, 2))),
        ("neg_log_loss:999999.999999", Metric("neg_log_loss", 10**6 - Fraction(1, 10**6))),
        ("neg_brier_score:0.000001", Metric("neg_brier_score", Fraction(1, 10**6))),
        ("neg_mean_squared_error:9999999999999", Metric("neg_mean_squared_error", Fraction(10**13 - 1))),
        ("neg_log_perplexity:6.9", Metric("neg_log_perplexity", Fraction(69, 10))),
    ],
)
def test_metrics_are_read_and_written(text: str, metric: Metric) -> None:
    """A name, and a parameter where it has one; written as it was read [P-6.14]."""
    assert read_metric(text) == metric
    assert metric.text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f1_micro", "no metric 'f1_micro'"),
        ("Accuracy", "no metric"),
        ("accuracy:", "takes no parameter"),
        ("roc_auc:1", "takes no parameter"),
        ("top_k_accuracy", "needs a parameter, top_k_accuracy:K"),
        ("top_k_accuracy:1", "an integer of at least 2"),
        ("top_k_accuracy:2.5", "an integer of at least 2"),
        ("neg_log_loss:0", "a number above 0"),
        ("neg_log_loss:0.0", "no idle zero"),
        ("neg_log_loss:2.50", "no idle zero"),
        ("neg_log_loss:02", "no idle zero"),
        ("neg_log_loss:-1", "a number above 0"),
        ("neg_log_loss:1e3", "a number above 0"),
        ("neg_log_loss:inf", "a number above 0"),
        ("neg_log_loss:1:2", "a number above 0"),
        ("neg_log_loss:1000000", "a number above 0"),
        ("neg_mean_squared_error", "needs a parameter, neg_mean_squared_error:CAP"),
        ("neg_mean_squared_error:0", "CAP of neg_mean_squared_error is a number above 0"),
        ("neg_mean_squared_error:-4", "a number above 0"),
        ("neg_mean_squared_error:10000000000000", "a number above 0"),
        ("token_accuracy:2", "takes no parameter"),
        ("neg_log_perplexity:0.0", "no idle zero"),
        ("neg_log_loss:٢", "a number above 0"),
    ],
)
def test_what_is_no_metric_is_told_so(text: str, reason: str) -> None:
    """Each metric has one way to write it, so that equal terms are equal bytes [P-6.14]."""
    with pytest.raises(ValueError, match=reason):
        read_metric(text)


def test_all_forms_are_told() -> None:
    """Whoever asks for a metric that is none reads all that there are."""
    assert [one.split(":")[0] for one in forms()] == list(KINDS)


@pytest.mark.parametrize(
    ("text", "share", "told"),
    [
        ("accuracy", Fraction(9, 10), "90.00% accuracy"),
        ("balanced_accuracy", Fraction(1, 2), "50.00% balanced accuracy"),
        ("neg_log_loss:2", Fraction(3, 4), "0.5000 nats of log loss"),
        ("roc_auc", Fraction(7, 8), "0.8750 AUROC"),
        ("roc_auc", Fraction(-1, 3), "-0.3333 AUROC"),
        ("f1_macro", Fraction(1, 4), "0.2500 macro F1"),
        ("neg_mean_squared_error:40", Fraction(1, 10), "36.0000 mean squared error (root 6.0000)"),
        ("neg_mean_squared_error:40", Fraction(2), "-40.0000 mean squared error (root 0.0000)"),
        ("token_accuracy", Fraction(1, 3), "33.33% token accuracy"),
        ("neg_log_perplexity:7", Fraction(1), "1.0000 perplexity"),
        ("neg_log_perplexity:7", Fraction(0), "1096.6332 perplexity"),
        ("neg_log_perplexity:7", -Fraction(10**400), "Infinity perplexity"),
        ("accuracy", Fraction(10**400), f"{10**402}.00% accuracy"),
    ],
)
def test_units_that_people_know(text: str, share: Fraction, told: str) -> None:
    """A share of the whole in the metric's own unit; of a metric that nobody knows the share alone."""
    assert read_metric(text).natural(share) == told == natural(text, share)
    assert natural("other", Fraction(1, 3)) == "33.33%"
