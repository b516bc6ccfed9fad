"""The learning curve of one trial as a small SVG file.

A worker draws it whenever a trial ends, and importing matplotlib takes more than a second of a new
worker's time: this is drawn by hand. It holds numbers only, no text from data. Must not import
torch, nor matplotlib.
"""

import math
from collections.abc import Iterator, Sequence

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 464, 40, 252
INK, GREY, ORANGE = "#1f2328", "#6e7781", "#d9730d"
MOST_TICKS = 6
HEAD = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
    f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="{INK}">'
    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
)


def curve_svg(train: Sequence[float], validation: Sequence[float]) -> str:
    """Draw macro-F1 of one run over epochs, and mark its best epoch.

    Args:
        train: Of each epoch on its training images, within 0..1; as long as `validation`.
        validation: Of each epoch on the validation images, at least one.
    """
    step = _tick_step(max(*train, *validation, 0.01))
    high = step * math.ceil(max(*train, *validation, 0.01) / step - 1e-9)
    n_epochs = len(validation)

    def x_of(epoch: float) -> float:
        return LEFT + (epoch - 1) / max(n_epochs - 1, 1) * (RIGHT - LEFT)

    def y_of(score: float) -> float:
        return BOTTOM - score / high * (BOTTOM - TOP)

    def line(scores: Sequence[float], look: str) -> str:
        points = [f"{x_of(epoch):.1f},{y_of(one):.1f}" for epoch, one in enumerate(scores, 1)]
        return f'<polyline points="{" ".join(points)}" fill="none" {look}/>'

    best = max(range(n_epochs), key=lambda index: validation[index])
    parts = [HEAD]
    for tick in range(round(high / step) + 1):
        y = y_of(tick * step)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#d0d7de" stroke-width="0.7"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick * step:g}", anchor="end"))
    for epoch in _epoch_ticks(n_epochs):
        parts.append(_text(x_of(epoch), BOTTOM + 18, str(epoch)))
    parts += [
        line(train, f'stroke="{GREY}" stroke-width="1.6" stroke-dasharray="5 4"'),
        line(validation, f'stroke="{ORANGE}" stroke-width="2"'),
        f'<circle cx="{x_of(best + 1):.1f}" cy="{y_of(validation[best]):.1f}" r="4" '
        f'fill="{ORANGE}"/>',
        _text((LEFT + RIGHT) / 2, HEIGHT - 12, "epoch"),
        f'<g transform="rotate(-90 14 {(TOP + BOTTOM) / 2})">'
        f"{_text(14, (TOP + BOTTOM) / 2, 'macro-F1')}</g>",
        *_legend(f"validation, best {validation[best]:.4f} in epoch {best + 1}"),
    ]
    return "".join([*parts, "</svg>"])


def _text(x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _legend(validation: str) -> Iterator[str]:
    for x, look, text in (
        (LEFT, f'stroke="{GREY}" stroke-width="1.6" stroke-dasharray="5 4"', "training"),
        (LEFT + 110, f'stroke="{ORANGE}" stroke-width="2"', validation),
    ):
        yield f'<path d="M{x} 20h28" {look}/>'
        yield _text(x + 35, 24, text, anchor="start")


def _tick_step(high: float) -> float:
    """Return the smallest round step of which at most six reach a number."""
    steps = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
    return next((step for step in steps if high <= step * MOST_TICKS), steps[-1])


def _epoch_ticks(n_epochs: int) -> list[int]:
    """Return at most seven epochs: the first, then multiples of a round number."""
    sizes = [size * 10**power for power in range(7) for size in (1, 2, 5)]
    size = next(size for size in sizes if n_epochs <= size * MOST_TICKS)
    return sorted({1, *range(size, n_epochs + 1, size)})
