"""How sure agreed values are by the ledger alone: from how far apart the miners' estimates lie. Pure, in fractions.

Every miner's rankings are draws of its own, so the spread between miners tells how much one ranking says. Few miners
tell little about one client, so all clients are taken together: one error for all of them, their root mean square.
What the test set's size leaves open is not in it: the tables, or the round's files, tell that (`reasons`).
"""

from collections.abc import Sequence
from fractions import Fraction

from fedcoin_cli.consensus.estimate import Agreement
from ledger_store.transaction import Result, Reveal


def ranking_variance(reveals: Sequence[Reveal]) -> Fraction:
    """The variance of one ranking's marginals in images², summed over the clients; from two or more reveals."""
    values = [reveal.values for reveal in reveals]
    weights = [reveal.rankings for reveal in reveals]
    average = [
        sum(weight * value for weight, value in zip(weights, column, strict=True)) / sum(weights)
        for column in zip(*values, strict=True)
    ]
    # Σ t_m·|v_m − v̄|² is V·(R − 1) in the mean.
    spread = sum(
        weight * (own - mean) ** 2
        for weight, estimate in zip(weights, values, strict=True)
        for own, mean in zip(estimate, average, strict=True)
    )
    return Fraction(spread, len(reveals) - 1)


def value_variance(result: Result, agreement: Agreement) -> Fraction | None:
    """The variance of an agreed value in images², the mean of all clients'; 0 for exact values.

    None where a single estimate makes the average: it has nothing to be compared with.
    """
    if agreement.exact:
        return Fraction(0)
    reveals = counted_reveals(result, agreement)
    if len(reveals) < 2:
        return None
    rankings = sum(reveal.rankings for reveal in reveals)
    return ranking_variance(reveals) / (rankings * len(agreement.numerators))


def counted_reveals(result: Result, agreement: Agreement) -> list[Reveal]:
    """The reveals that make the average, in the order of the agreement."""
    by_miner = {reveal.miner: reveal for reveal in result.reveals}
    return [by_miner[miner] for miner in agreement.counted]
