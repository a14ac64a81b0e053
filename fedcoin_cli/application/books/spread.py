"""How sure agreed values are by the ledger alone: from how far apart the miners' estimates lie. Pure, in fractions.

Every miner's rankings are draws of its own, so the spread between miners tells how much one ranking says. Few miners
tell little about one client, so all clients are taken together: one error for all of them, their root mean square.
What all estimates share is not in it: above 16 clients the proxy's values are estimates, too, and often the larger
part of the error. Only the proxy's file tells that part (`reasons`); here it is at least known to be missing.
"""

from collections.abc import Sequence
from fractions import Fraction

from fedcoin_cli.consensus.estimate import Agreement, exact_denominator
from ledger_store.transaction import Result, Reveal


def ranking_variance(reveals: Sequence[Reveal]) -> Fraction:
    """The variance of one ranking's marginals in images², summed over the clients; from two or more reveals."""
    total = sum(reveal.rankings for reveal in reveals)
    average = [Fraction(sum(column), total) for column in zip(*(one.sums for one in reveals), strict=True)]
    # Σ t_m·|X_m − X̄|² is V·(R − 1) in the mean.
    spread = sum(
        reveal.rankings * (Fraction(own, reveal.rankings) - mean) ** 2
        for reveal in reveals
        for own, mean in zip(reveal.sums, average, strict=True)
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
    return ranking_variance(reveals) / (rankings * len(result.proxy_sums))


def shares_an_error(result: Result, agreement: Agreement) -> bool:
    """Whether all estimates share an error that their spread does not show: proxy sums that are estimates."""
    exact = exact_denominator(len(result.proxy_sums)) == result.proxy_denominator
    return any(result.proxy_sums) and not exact and not agreement.exact


def counted_reveals(result: Result, agreement: Agreement) -> list[Reveal]:
    """The reveals that make the average, in the order of the agreement."""
    by_miner = {reveal.miner: reveal for reveal in result.reveals}
    return [by_miner[miner] for miner in agreement.counted]
