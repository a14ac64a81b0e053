"""Answers in JSON that tell all by themselves: names beside addresses, decimals with all their digits."""

import re
from collections.abc import Iterable, Mapping

from fedcoin_cli.application.workspace.address_names import Names
from ledger_store.base.names import ADDRESS_LENGTH

_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]{1,5}")
_DIGITS = 6


def told(data: Mapping[str, object], names: Names) -> dict[str, object]:
    """The same with `X_name` beside every address X that has a name, `name` beside `address`; six decimals each."""
    found: dict[str, object] = {}
    for key, value in data.items():
        found[key] = _told(value, names)
        known = names.known(value) if isinstance(value, str) else None
        beside = "name" if key == "address" else f"{key}_name"
        if known is not None and beside not in data:
            found[beside] = known
    return found


def legend(data: object, names: Names) -> dict[str, str]:
    """The names of all addresses in what is on the ledger, which is shown as it is."""
    return {address: name for address in sorted(set(_addresses(data))) if (name := names.known(address))}


def _told(value: object, names: Names) -> object:
    if isinstance(value, Mapping):
        return told(value, names)
    if isinstance(value, list | tuple):
        return [_told(one, names) for one in value]
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return value.ljust(value.index(".") + 1 + _DIGITS, "0")
    return value


def _addresses(data: object) -> Iterable[str]:
    if isinstance(data, Mapping):
        data = list(data.values())
    if isinstance(data, list | tuple):
        for one in data:
            yield from _addresses(one)
    elif isinstance(data, str) and len(data) == ADDRESS_LENGTH:
        yield data
