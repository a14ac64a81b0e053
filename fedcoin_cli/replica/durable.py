"""The order in which effects are carried out: what is to persist is durable before anything that follows leaves."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from fedcoin_cli.consensus import attempt, simplex
from fedcoin_cli.replica.ports import Log
from fedcoin_cli.replica.records import Record

E = TypeVar("E", bound=attempt.Effect | simplex.Effect)


def durably(effects: Iterable[E], log: Log) -> Iterator[E]:
    """The effects but those that persist: what stands together of these goes into the log at once, all or none."""
    records: list[Record] = []
    for effect in effects:
        if isinstance(effect, attempt.Persist | simplex.Persist):
            records.append(effect.record)
            continue
        if records:
            log.append(records)
            records = []
        yield effect
    if records:
        log.append(records)
