"""Who is paid by which metric, on made-up patients of whom few have a disease."""

import numpy as np
import pytest

import fedcoin

SITES, SIGNS, EPOCHS = 5, 6, 300


def patients(rng: np.random.Generator, ill: int, well: int) -> tuple[np.ndarray, np.ndarray]:
    """The ill have larger signs, and overlap with the well."""
    signs = rng.standard_normal((ill + well, SIGNS))
    signs[:ill] += 0.9
    return signs.astype(np.float32), np.array([1] * ill + [0] * well, np.int32)


def trained(signs: np.ndarray, ill: np.ndarray, start: list[np.ndarray]) -> list[np.ndarray]:
    """Softmax regression by gradient descent."""
    kernel, bias = (part.astype(np.float64) for part in start)
    wanted = np.eye(2)[ill]
    for _ in range(EPOCHS):
        outputs = signs @ kernel + bias
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        error = (shares - wanted) / len(signs)
        kernel, bias = kernel - 0.5 * signs.T @ error, bias - 0.5 * error.sum(axis=0)
    return [kernel.astype(np.float32), bias.astype(np.float32)]


@pytest.fixture(scope="module")
def hospitals() -> tuple[str, tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]]:
    """Site 1 has most of the ill, site 5 none at all; of the test set one in twelve is ill."""
    rng = np.random.default_rng(5)
    model = fedcoin.mlp((SIGNS,), (), 2)
    start = [np.zeros((SIGNS, 2)), np.zeros(2)]
    sites = [(150, 150), (15, 285), (15, 285), (15, 285), (0, 300)]
    updates = [trained(*patients(rng, ill, well), start) for ill, well in sites]
    return model, patients(rng, 80, 880), updates


def shares(values: tuple[float, ...]) -> np.ndarray:
    """What part of TrainPrice each site gets."""
    weights = np.maximum(values, 0.0)
    found: np.ndarray = weights / weights.sum()
    return found


def test_the_site_with_the_ill_is_paid_by_what_it_knows(
    hospitals: tuple[str, tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]],
) -> None:
    """Accuracy pays the site with the ill no more than one that has none; balanced accuracy and AUROC pay it most.

    Who has no ill gets nothing by both, beyond what chance is worth.
    """
    accuracy = shares(fedcoin.shapley(*hospitals, exact=True).values)
    assert accuracy[0] < 1 / SITES
    assert abs(accuracy[0] - accuracy[4]) < 0.02
    for metric in ("balanced_accuracy", "roc_auc"):
        found = fedcoin.shapley(*hospitals, metric=metric, baseline="chance", exact=True)
        paid = shares(found.values)
        assert paid[0] == max(paid) > 1 / SITES
        assert paid[4] == 0
        assert float(found.nobody) == pytest.approx(50, abs=1e-4)


def test_who_hands_the_start_back_gets_nothing_against_it(
    hospitals: tuple[str, tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]],
) -> None:
    """A client that returns the weights that all began with is paid against zero, and not against these weights."""
    model, test, _ = hospitals
    rng = np.random.default_rng(6)
    zeros = [np.zeros((SIGNS, 2)), np.zeros(2)]
    began = [part / 10 for part in trained(*patients(rng, 30, 30), zeros)]
    rounds = [*(trained(*patients(rng, 30, 270), began) for _ in range(3)), began]
    for metric in ("accuracy", "neg_log_loss:1.4"):
        against_zero = fedcoin.shapley(model, test, rounds, metric=metric, exact=True)
        named = fedcoin.shapley(model, test, rounds, metric=metric, baseline=began, exact=True)
        assert shares(against_zero.values)[3] > 0.1
        assert shares(named.values)[3] == 0
        assert named.together == against_zero.together


@pytest.mark.parametrize("exact", [True, False])
def test_sampled_and_exact_agree(
    hospitals: tuple[str, tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]], exact: bool
) -> None:
    """Values by any metric sum to what all together gain; one block of all images tells no error of the test set."""
    for metric in ("accuracy", "neg_log_loss:1.4", "roc_auc"):
        how = {"exact": True} if exact else {"rankings": 20}
        found = fedcoin.shapley(*hospitals, metric=metric, baseline="chance", **how)
        whole = fedcoin.shapley(*hospitals, metric=metric, baseline="chance", exact=True)
        assert float(sum(found.fractions)) == pytest.approx(float(sum(whole.fractions)))
        assert np.isnan(found.test_errors).all() == (metric == "roc_auc")
