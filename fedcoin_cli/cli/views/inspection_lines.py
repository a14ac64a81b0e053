"""An inspection as lines for whoever is about to pay: a table of clients, and in words what is conspicuous."""

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.output import counted, table

if TYPE_CHECKING:
    from fedcoin_cli.application.rounds.inspecting import Inspected
    from fedcoin_cli.cli.program.options import Call
    from fedcoin_cli.learning.scrutiny.signs import Sign

_SHOWN = 50
"""Clients of whom all are shown; of more only those with a sign."""
_WARNED = 10


def inspection_lines(found: "Inspected", names: Names) -> list[str]:
    """The table, then the signs, then what could not be looked for."""
    signs = found.looked.signs
    marked = {one.client for one in signs}
    every = len(found.updates) <= _SHOWN
    rows = [number for number in range(len(found.updates)) if every or number in marked]
    lines = table(_header(found), [_row(found, number, names) for number in rows]) if rows else []
    if len(rows) < len(found.updates):
        lines += [f"{counted(len(found.updates) - len(rows), 'client')} without a sign are not shown"]
    told = [sign_words(found, one, names) for one in signs]
    lines += ["", *(told or ["nothing is conspicuous"])]
    return [*lines, *caveats(found)]


def sign_words(found: "Inspected", sign: "Sign", names: Names) -> str:
    """One sign as a sentence."""
    from fedcoin_cli.learning.scrutiny.signs import Kind

    def who(client: int) -> str:
        return names.name(found.updates[client].client)

    of, measure = "" if sign.other is None else who(sign.other), sign.measure
    said = {
        Kind.not_finite: "some of its weights are no finite numbers",
        Kind.huge: f"its largest weight is {measure:.3g}: miners take none beyond {sign.limit:.3g}",
        Kind.copy: f"its update is that of {of}, number by number",
        Kind.scaled: f"its step is that of {of} at another length (cosine {measure:.5f})",
        Kind.mirrored: f"its step is that of {of} turned round (cosine {measure:.3f})",
        Kind.near: f"its step is nearly that of {of} (cosine {measure:.3f})",
        Kind.untouched: "it sends the weights back with which all began",
        Kind.echo: f"it lies at {_times(measure)} the usual distance from the mean of the others: an echo of them",
        Kind.against: f"its step goes against the others' (cosine {measure:.2f})",
        Kind.adrift: f"its step has nothing in common with the others' (cosine {measure:.2f})",
        Kind.long: f"its step is {_times(measure)} the usual length",
        Kind.short: f"its step is {_times(measure)} the usual length",
        Kind.layer: f"its step in tensor {sign.tensor} is {_times(measure)} the usual length",
        Kind.still: f"it leaves tensor {sign.tensor} as it was",
        Kind.claim: f"it claims {_times(measure)} the usual number of examples",
        Kind.misfit: f"it claims {_times(measure)} the examples that the length of its step speaks for",
        Kind.harmful: f"it is worth less than nothing ({measure:.2f} pp): wrong labels look so, and other data do",
    }
    return f"{who(sign.client)}: {said[sign.kind]}"


def caveats(found: "Inspected") -> Iterator[str]:
    """What this look cannot tell, and why."""
    from fedcoin_cli.learning.scrutiny.signs import LEAST_COMPARED

    if found.start is None:
        yield (
            "nobody knows the weights that all began with (--start FILE): untouched, mirrored and scaled updates, and "
            "noise, cannot be told"
        )
    if len(found.updates) < LEAST_COMPARED:
        yield f"with fewer than {LEAST_COMPARED} clients nobody can be told to be unlike the others"


def warn_of(call: "Call", found: "Inspected | None", names: Names) -> None:
    """Tell before a round is published what is conspicuous about it, if anybody looked."""
    if found is None:
        return
    signs = found.looked.signs
    for sign in signs[:_WARNED]:
        call.output.warn(sign_words(found, sign, names))
    if len(signs) > _WARNED:
        call.output.warn(f"and {len(signs) - _WARNED} more signs: fedcoin inspect lists them")


def _header(found: "Inspected") -> list[str]:
    value = ["value (pp)"] if found.values else []
    return ["client", "examples", "step", "with others", "distance", "most alike", "", *value, "looks like"]


def _row(found: "Inspected", number: int, names: Names) -> list[str]:
    measures, update = found.looked.measures, found.updates[number]
    nearest = int(measures.nearest[number])
    kinds = dict.fromkeys(one.kind.value for one in found.looked.signs if one.client == number)
    return [
        names.name(update.client),
        str(update.examples),
        _number(measures.length[number]),
        _number(measures.alignment[number]),
        _number(measures.distance[number]),
        _number(measures.cosine[number], 3),
        names.name(found.updates[nearest].client) if nearest >= 0 else "–",
        *([f"{found.values[number]:.4f}"] if found.values else []),
        ", ".join(kinds) or "–",
    ]


def _number(value: Any, places: int = 2) -> str:
    if not isfinite(value):
        return "–"
    return f"{value:.{places}f}" if abs(value) < 1000 else f"{value:.3g}"


def _times(measure: float) -> str:
    return f"{measure:.2g} times" if isfinite(measure) else "no finite number of times"
