"""Marks for figures in a page: bars, whiskers, lines, labels and axes, as SVG text. What they show is not known here.

Colours are the page's: a mark has a class, never a colour. Coordinates are rounded to hundredths, so that equal values
give equal bytes on every machine.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_NEAR = 1e-9
Points = Iterable[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to coordinates, linear or logarithmic; `low` < `high` lie at `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = log10(low), log10(high), log10(max(value, self.low))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the scale: powers of ten, or steps of 1, 2 or 5 times one."""
        if self.logarithmic:
            exponents = range(ceil(log10(self.low) - 1e-9), floor(log10(self.high) + 1e-9) + 1)
            return [10.0**exponent for exponent in exponents]
        rough = (self.high - self.low) / most
        power = 10.0 ** floor(log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def linear(values: Iterable[float], start: float, end: float) -> Scale:
    """A linear scale from zero or the least value to the greatest."""
    known = [0.0, *values]
    low, high = min(known), max(known)
    return Scale(low, high if high > low else low + 1.0, start, end)


def figure(width: float, height: float, marks: Iterable[str], label: str) -> str:
    """A drawing of these marks; `label` is what somebody hears who cannot see it."""
    box = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    inner = "\n".join(marks)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(label)}">\n{inner}\n</svg>'


def bar(low: float, high: float, y: float, thickness: float, kind: str, title: str = "") -> str:
    """A horizontal bar between two x, centred on y, with a tooltip."""
    left, width = min(low, high), abs(high - low)
    size = f'x="{_n(left)}" y="{_n(y - thickness / 2)}" width="{_n(width)}" height="{_n(thickness)}"'
    return f'<rect class="{kind}" {size} rx="1.5">{_title(title)}</rect>'


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A round mark, with a tooltip."""
    return f'<circle class="{kind}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}">{_title(title)}</circle>'


def whisker(low: float, high: float, y: float, size: float = 3.5) -> str:
    """An error bar from x to x on a bar at y."""
    path = f"M{_n(low)} {_n(y)}H{_n(high)}"
    ends = "".join(f"M{_n(x)} {_n(y - size)}V{_n(y + size)}" for x in (low, high))
    return f'<path class="whisker" d="{path}{ends}"/>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    """A straight line."""
    return f'<path class="{kind}" d="M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}"/>'


def line(points: Points, kind: str, title: str = "") -> str:
    """A line through points."""
    return (
        f'<path class="{kind}" d="M{"L".join(f"{_n(x)} {_n(y)}" for x, y in points)}">{_title(title)}</path>'
    )


def steps(points: Sequence[tuple[float, float]], end: float, kind: str, title: str = "") -> str:
    """A line that keeps each y until the next x, and the last one until `end`."""
    first, *rest = points
    path = f"M{_n(first[0])} {_n(first[1])}" + "".join(f"H{_n(x)}V{_n(y)}" for x, y in rest)
    return f'<path class="{kind}" d="{path}H{_n(end)}">{_title(title)}</path>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """A line of text; its middle stands at y."""
    shown = f' class="{kind}"' if kind else ""
    return f'<text{shown} x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" dy="0.35em">{escape(words)}</text>'


def bottom_axis(
    scale: Scale, top: float, y: float, label: Callable[[float], str], *, whole: bool = False
) -> list[str]:
    """Vertical grid lines from `top` to y, with their values below; `whole`: at whole numbers only."""
    marks = []
    for tick in scale.ticks():
        if whole and abs(tick - round(tick)) > _NEAR:
            continue
        x = scale(tick)
        marks += [rule(x, top, x, y, "axis" if tick == 0 else "grid")]
        marks += [text(x, y + 12, label(tick), "middle", "tick")]
    return marks


def left_axis(scale: Scale, x: float, right: float, label: Callable[[float], str]) -> list[str]:
    """Horizontal grid lines from x to `right`, with their values on the left."""
    marks = []
    for tick in scale.ticks():
        y = scale(tick)
        marks += [rule(x, y, right, y, "axis" if tick == 0 else "grid")]
        marks += [text(x - 6, y, label(tick), "end", "tick")]
    return marks


def short(value: float) -> str:
    """A tick's value: 0.5, 1,000."""
    return f"{value:,.10g}".replace("-", "−")


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
