"""Runs of a reader over hostile inputs: what came out of them, and the input that broke it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from fuzzing.decoders import Decoder
from fuzzing.mutations import mutated


@dataclass(slots=True)
class Tally:
    """How many inputs were read as values, how many were refused, and the longest that one took (CPU seconds)."""

    values: int = 0
    refused: int = 0
    slowest_s: float = 0.0

    @property
    def runs(self) -> int:
        return self.values + self.refused


class Broken(AssertionError):
    """A reader that did something else than read or refuse; the message holds what is needed to see it again."""

    def __init__(self, decoder: Decoder, data: bytes) -> None:
        shown = data if len(data) <= 4_000 else data[:4_000] + b"... (cut)"
        super().__init__(f"{decoder.name} broke on {len(data)} bytes: {shown!r}")


def try_one(decoder: Decoder, data: bytes, tally: Tally) -> None:
    """Read one input; raises `Broken` from whatever is not the documented refusal."""
    started = time.process_time()
    try:
        decoder.read(data)
        tally.values += 1
    except decoder.refusal:
        tally.refused += 1
    except Exception as error:
        raise Broken(decoder, data) from error
    tally.slowest_s = max(tally.slowest_s, time.process_time() - started)


def inputs(decoder: Decoder, seed: int, count: int) -> Iterable[bytes]:
    """The hostile inputs of one seed."""
    random = Random(f"{decoder.name} {seed}")
    return (mutated(random, decoder.samples) for _ in range(count))


def fuzz(decoder: Decoder, seed: int, count: int) -> Tally:
    """Try the inputs of one seed; raises `Broken` at the first that breaks the reader."""
    tally = Tally()
    for data in inputs(decoder, seed, count):
        try_one(decoder, data, tally)
    return tally
