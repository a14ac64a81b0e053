"""The published figures of this line of work, and what they leave out, as SVG and CSV.

    python -m benchmarks.papers [fedcoin] [song] [weight] [scale] [--quick] [--seed N] [-o FOLDER]

`fedcoin` is Fig. 4 to 6 of Liu et al. (2020), `song` the five cases of Song, Tong and Wei (2019), `weight` one of them
by several choices of images, `scale` the effect of the numbers of miners and clients; all of them without a name. Real
MNIST, real training. Trained clients and counted rankings are kept in the cache: a run that was cut off goes on.
docs/reproduction.md tells what came out. Equal seeds give equal files on one machine, but for times.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.games import Case, mnist
from benchmarks.papers import fig4, fig5, fig6, scale, song, weight
from benchmarks.papers.chart import Figure
from benchmarks.papers.hundred import EPOCHS, Hundred, smaller
from benchmarks.papers.reported import SONG_JOINT

FOLDER: Final = Path("reproduction")


def fedcoin(quick: bool, seed: int) -> Iterator[Figure]:
    """Fig. 4, 5 and 6."""
    case = Case("types", 100, EPOCHS, seed=seed)
    hundred = Hundred.of(smaller(case) if quick else case, seed)
    effort = fig6.Effort(500, 10_000, 40) if quick else fig6.Effort(3_000, 40_000, 250)
    yield fig5.own_figure(hundred)
    yield fig4.values_figure(hundred, max(fig6.MINERS), effort.balanced)
    yield fig6.rankings_figure(hundred, effort)


def five_cases(quick: bool, seed: int) -> Iterator[Figure]:
    """Song's values, errors and times."""
    dataset, size = mnist(), _size(quick)
    found = [song.outcome(case, dataset, size, order, seed) for order in song.ORDERS for case in SONG_JOINT]
    yield song.cases_figure(found)
    yield from (song.values_figure(found, order) for order in song.ORDERS)


def many_weights(quick: bool, seed: int) -> Iterator[Figure]:
    """Whether the smallest client ranks first."""
    yield weight.weight_figure(mnist(), _size(quick), seed)


def sizes(quick: bool, seed: int) -> Iterator[Figure]:
    """Numbers of miners and clients."""
    most = 100 if quick else max(scale.CLIENTS)
    base = Case("types", 0, train=60_000, test=500 if quick else 2_000, seed=seed)
    found = [
        scale.measured(replace(base, clients=clients), seed) for clients in scale.CLIENTS if clients <= most
    ]
    yield scale.clients_figure(found)
    yield scale.miners_figure(found)


def _size(quick: bool) -> song.Size:
    return song.Size(train=500, test=200, rounds=20) if quick else song.Size()


PARTS: Final[dict[str, Callable[[bool, int], Iterator[Figure]]]] = {
    "fedcoin": fedcoin,
    "song": five_cases,
    "weight": many_weights,
    "scale": sizes,
}


def main() -> None:
    """Measure, and write each figure as it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.papers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all")
    parser.add_argument("--quick", action="store_true", help="minutes: fewer images, rankings and clients")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", default=FOLDER, help=f"else {FOLDER}")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for part in chosen.parts or PARTS:
        started = time.monotonic()
        for figure in PARTS[part](chosen.quick, chosen.seed):
            figure.write(chosen.output)
            print(chosen.output / f"{figure.name}.svg", *figure.notes, sep="\n  ", flush=True)
        print(f"{part}: {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
