"""Every reader against hostile bytes: a value or its documented refusal, nothing else."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing.decoders import Decoder, decoders
from fuzzing.runs import Tally, fuzz, try_one
from hypothesis import given, settings
from hypothesis import strategies as st

# In memory where there is such a place: half of the readers read files.
_MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
_FOLDER = tempfile.TemporaryDirectory(prefix="fedcoin-fuzz-", dir=_MEMORY)
DECODERS = decoders(Path(_FOLDER.name))
INPUTS, AT_ONCE = 10_000, 200
# Those that read whole files, or a whole chain, are slower: fewer here, all with `python -m benchmarks.fuzz`.
SLOW = {
    "round": 1_000,
    "chain": 1_000,
    "settings": 2_000,
    "fork proof": 2_000,
    "signed update": 2_000,
    "snapshot": 2_000,
}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", DECODERS)
def test_good_samples_are_read(name: str) -> None:
    """Each reader takes its samples, so that what is made from them reaches all of it."""
    tally = Tally()
    for data in DECODERS[name].samples:
        try_one(DECODERS[name], data, tally)
    assert tally.values >= max(1, len(DECODERS[name].samples) - 1)


@pytest.mark.parametrize("name", DECODERS)
def test_touched_bytes_are_read_or_refused(name: str) -> None:
    """Cut, doubled, exchanged and retyped samples: no reader raises anything but its own refusal."""
    decoder = DECODERS[name]
    examples = SLOW.get(name, INPUTS) // AT_ONCE

    @settings(max_examples=examples, deadline=None, database=None)
    @given(st.integers(0, 2**64))
    def run(seed: int) -> None:
        assert fuzz(decoder, seed, AT_ONCE).runs == AT_ONCE

    run()


@pytest.mark.parametrize("name", DECODERS)
def test_towers_and_endless_numbers_are_refused(name: str) -> None:
    """Brackets 100,000 deep and integers of 100,000 digits in the place of each value: no recursion, no long sum."""
    tally = Tally()
    for data in DECODERS[name].samples:
        values = list(re.finditer(rb"(?<=[:=,\[] )[\w\"\[{]|(?<=[:=,\[])[\w\"\[{]", data))[:40]
        for place in {match.start() for match in values} | {0, min(8, len(data))}:
            for awkward in (b"[" * 100_000, b'{"a":' * 100_000, b"1" * 100_000, b"1e999999999"):
                try_one(DECODERS[name], data[:place] + awkward + data[place:], tally)
                try_one(DECODERS[name], data[:place] + awkward, tally)
    assert tally.runs


@pytest.mark.parametrize("name", DECODERS)
def test_any_json_is_read_or_refused(name: str) -> None:
    """Arbitrary JSON, floats and foreign text included, and arbitrary bytes are no way in either."""
    decoder: Decoder = DECODERS[name]

    @settings(max_examples=40, deadline=None, database=None)
    @given(values, st.binary(max_size=60))
    def run(value: Any, data: bytes) -> None:
        tally = Tally()
        text = json.dumps(value).encode()
        for one in (text, data, len(text).to_bytes(8, "little") + text):
            try_one(decoder, one, tally)

    run()


def test_a_reader_that_breaks_is_caught() -> None:
    """A planted bug, a KeyError behind a correct header, is reported with the input that shows it."""
    planted = Decoder("planted", lambda data: {b"[": 1}[data[:1]], (b"[1,2,3]",), DECODERS["message"].refusal)
    with pytest.raises(AssertionError, match="planted broke on"):
        fuzz(planted, 1, 200)
