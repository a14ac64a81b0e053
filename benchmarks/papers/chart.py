"""A figure of the papers as SVG and as CSV: panels of lines and points on the marks of the reports' pages.

A drawing brings its own colours, so that it looks alike wherever it is shown; its paper is white.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Final

from fedcoin_cli.cli.page import svg

COLOURS: Final = ("#1b1f24", "#2f6fb3", "#3d8f6b", "#c4572f", "#9467bd", "#b08a1e", "#5a6370", "#c2478f")
_STYLE: Final = """<style>
text { fill: #1b1f24; font: 12px "Liberation Sans", Arial, sans-serif; }
.tick { fill: #5a6370; font-size: 11px; }
.title { font-weight: bold; }
.grid { stroke: #e3e6ea; fill: none; }
.axis { stroke: #9aa3ad; fill: none; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.dashed { stroke-dasharray: 6 4; }
.dotted { stroke-dasharray: 1.5 3; }
"""
_MARK: Final = 6.0
_LINE_HEIGHT: Final = 17.0
_LEFT, _TOP, _BELOW, _GAP = 70.0, 34.0, 46.0, 74.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of a colour, a number of `COLOURS`: as marks, as a line ("", "dashed", "dotted"; None: none), or both."""

    name: str
    points: Sequence[Point]
    colour: int
    line: str | None = ""
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, and how; `low` and `high` are its ends where the points do not say."""

    name: str
    logarithmic: bool = False
    low: float | None = None
    high: float | None = None
    whole: bool = False
    label: Callable[[float], str] = svg.short

    def scale(self, values: Iterable[float], start: float, end: float) -> svg.Scale:
        """Over these values: whole powers of ten, or from zero."""
        known = [value for value in values if value > 0 or not self.logarithmic]
        if self.logarithmic:
            low = 10.0 ** floor(log10(min(known)) + 1e-9) if self.low is None else self.low
            high = 10.0 ** ceil(log10(max(known)) - 1e-9) if self.high is None else self.high
            return svg.Scale(low, high, start, end, logarithmic=True)
        low = min(0.0, *known) if self.low is None else self.low
        high = max(known) if self.high is None else self.high
        return svg.Scale(low, high + 0.04 * (high - low) * (self.high is None), start, end)


@dataclass(frozen=True, slots=True)
class Panel:
    """One system of axes with its series."""

    title: str
    across: Axis
    up: Axis
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is drawn, and the numbers behind it.

    `columns` are the CSV's; `text` is what somebody hears who cannot see the drawing; `rows` hold numbers and texts.
    """

    name: str
    text: str
    panels: Sequence[Panel]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    panel_width: float = 560.0
    panel_height: float = 330.0
    notes: Sequence[str] = field(default=())

    def write(self, folder: Path) -> None:
        """Both files; a number is written so that it is read back within a millionth of itself."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.svg").write_text(self.svg() + "\n", "utf-8")
        with (folder / f"{self.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([[_written(cell) for cell in row] for row in self.rows])

    def svg(self) -> str:
        """The drawing, the names of the series beside it."""
        named = {one.name: one for panel in self.panels for one in panel.series}
        width = _LEFT + len(self.panels) * self.panel_width + (len(self.panels) - 1) * _GAP
        height = _TOP + self.panel_height + _BELOW
        legend = width + 22
        whole = legend + 40 + 6.4 * max(map(len, named))
        strokes = "".join(
            f".s{number} {{ stroke: {colour}; }}\n.f{number} {{ fill: {colour}; }}\n"
            for number, colour in enumerate(COLOURS)
        )
        marks = [
            f"{_STYLE}{strokes}</style>",
            f'<rect width="{whole:g}" height="{height:g}" fill="#ffffff"/>',
        ]
        for number, panel in enumerate(self.panels):
            marks += self._panel(panel, _LEFT + number * (self.panel_width + _GAP))
        for number, one in enumerate(named.values()):
            y = _TOP + 8 + _LINE_HEIGHT * number
            marks += [*_drawn(one, [(legend, y), (legend + 26, y)]), svg.text(legend + 34, y, one.name)]
        return svg.figure(whole, height, marks, self.text)

    def _panel(self, panel: Panel, left: float) -> list[str]:
        right, bottom = left + self.panel_width, _TOP + self.panel_height
        points = [point for one in panel.series for point in one.points]
        across = panel.across.scale((x for x, _ in points), left, right)
        up = panel.up.scale((y for _, y in points), bottom, _TOP)
        marks = svg.bottom_axis(across, _TOP, bottom, panel.across.label, whole=panel.across.whole)
        marks += svg.left_axis(up, left, right, panel.up.label)
        marks += [svg.text(left, 12, panel.title, kind="title")]
        marks += [svg.text(left, 26, panel.up.name, kind="tick")]
        marks += [svg.text((left + right) / 2, bottom + 32, panel.across.name, "middle", "tick")]
        for one in panel.series:
            # What lies beyond the axes is not drawn; the numbers are in the CSV.
            inside = [
                (across(x), up(y))
                for x, y in one.points
                if across.low <= x <= across.high and up.low <= y <= up.high
            ]
            marks += _drawn(one, inside)
        return marks


def _drawn(one: Series, points: Sequence[Point]) -> list[str]:
    marks = []
    if one.line is not None and len(points) > 1:
        marks += [svg.line(points, f"line s{one.colour} {one.line}".strip(), one.name)]
    if one.marks:
        marks += [
            svg.bar(x - _MARK / 2, x + _MARK / 2, y, _MARK, f"f{one.colour}", one.name) for x, y in points
        ]
    return marks


def _written(cell: Any) -> Any:
    return f"{cell:.7g}" if isinstance(cell, float) else cell
