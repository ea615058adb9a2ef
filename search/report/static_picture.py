"""The scatter as a standalone SVG without a script, for a README."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from .clouds import Cloud, Clouds
from .evaluation_table import EvaluationTable
from .formats import EnergyUnit, format_bytes, format_count, format_percent
from .front_schema import Front
from .plot import Plot
from .ramp import STEPS, ramp_css, ramp_step
from .scales import Scale

_WIDTH, _HEIGHT = 960, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 28, 76, 62
_LEGEND_CELL = 9

_STYLE = (
    "svg{--bg:#fff;--ink:#1a1d21;--muted:#646b75;--line:#e6e8eb;" + ramp_css(dark=False) + "}"
    "@media(prefers-color-scheme:dark){svg{--bg:#15171a;--ink:#e9ebee;--muted:#99a1ab;"
    "--line:#2a2e33;" + ramp_css(dark=True) + "}}"
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--muted)}"
    ".t{font-size:16px;font-weight:600;fill:var(--ink)}.k{fill:var(--ink)}"
    ".h{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}"
    ".g{stroke:var(--line)}.r{stroke:var(--muted);stroke-opacity:.4;fill:none}"
    ".d{fill:none;stroke-linecap:round;stroke-width:5;stroke-opacity:.4}"
    ".s{fill:none;stroke:var(--ink);stroke-width:1.5}"
    ".l{stroke:var(--muted);stroke-dasharray:5 4}"
    ".m{stroke:var(--bg);stroke-width:1.5}.p{fill:var(--ink);stroke:var(--bg)}"
)


def draw_front(front: Front, table: EvaluationTable, plot: Plot, unit: EnergyUnit) -> str:
    """SVG text of the scatter: log bytes, accuracies around the front."""
    frame = _Frame(plot.x["log"], plot.y["near"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{_label(front)}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="var(--bg)"/>',
        f'<text class="t" x="{_LEFT}" y="30">{_label(front)}</text>',
        *_axes(frame),
        *_crosses(frame, plot.clouds.rejected, table),
        *_crosses(frame, plot.clouds.infeasible, table),
        *_rug(frame, plot.clouds.rug, table),
        *_dots(frame, plot, table),
        *_limits(frame, plot.limit, front.limits.bytes),
        *_stairs(frame, plot.stairs),
        *_members(frame, front, plot),
        _parent_star(frame, front),
        *_energy_key(plot, unit),
        *_shape_key(plot.clouds),
        "</svg>\n",
    ]
    return "\n".join(parts)


class _Frame:
    """Places values in the picture, in pixels."""

    def __init__(self, x: Scale, y: Scale) -> None:
        self.x_scale, self.y_scale = x, y

    def x(self, size: float) -> float:
        return _LEFT + self.x_scale.position(size) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, accuracy: float) -> float:
        return _HEIGHT - _BOTTOM - self.y_scale.position(accuracy) * (_HEIGHT - _TOP - _BOTTOM)

    def points(self, cloud: Cloud, table: EvaluationTable) -> Iterable[tuple[int, float, float]]:
        """Row and place of the points of a cloud that lie within the picture."""
        for row in cloud.rows.tolist():
            if table.accuracy[row] >= self.y_scale.low:
                yield row, self.x(float(table.bytes[row])), self.y(float(table.accuracy[row]))


def _label(front: Front) -> str:
    if not front.members:
        return f"No candidate of {escape(front.parent.name)} met the constraints"
    return f"{len(front.members)} networks on the front of {escape(front.parent.name)}"


def _axes(frame: _Frame) -> Iterable[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value, text in frame.y_scale.ticks:
        y = frame.y(value)
        yield f'<path class="g" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    yield f'<path class="g" d="M{_LEFT} {bottom}H{right}"/>'
    for value, text in frame.x_scale.ticks:
        x = frame.x(value)
        yield f'<path class="g" d="M{x:.1f} {bottom}v5"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 21}" text-anchor="middle">{text}</text>'
    yield f'<text x="{right}" y="{_HEIGHT - 14}" text-anchor="end">packed size</text>'
    yield f'<text x="{_LEFT}" y="{_TOP - 14}">accuracy on the search split</text>'


def _crosses(frame: _Frame, cloud: Cloud, table: EvaluationTable) -> Iterable[str]:
    path = "".join(
        f"M{x - 2.5:.1f} {y - 2.5:.1f}l5 5m-5 0l5-5" for _, x, y in frame.points(cloud, table)
    )
    if path:
        yield f'<path class="r" d="{path}"/>'


def _rug(frame: _Frame, cloud: Cloud, table: EvaluationTable) -> Iterable[str]:
    bottom = _HEIGHT - _BOTTOM
    path = "".join(
        f"M{frame.x(float(table.bytes[row])):.1f} {bottom}v-7" for row in cloud.rows.tolist()
    )
    if path:
        yield f'<path class="r" d="{path}"/>'


def _dots(frame: _Frame, plot: Plot, table: EvaluationTable) -> Iterable[str]:
    """One path per colour: thousands of circles would make a heavy file."""
    by_step: dict[int, list[str]] = {}
    for row, x, y in frame.points(plot.clouds.dominated, table):
        step = ramp_step(float(table.energy_mj[row]), *plot.energy)
        by_step.setdefault(step, []).append(f"M{x:.1f} {y:.1f}h0")
    for step, points in sorted(by_step.items()):
        yield f'<path class="d" stroke="{_colour(step)}" d="{"".join(points)}"/>'


def _limits(frame: _Frame, accuracy: float | None, size: int | None) -> Iterable[str]:
    if accuracy is not None:
        y, right = frame.y(accuracy), _WIDTH - _RIGHT
        yield f'<path class="l" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield (
            f'<text class="h" x="{right}" y="{y + 17:.1f}" text-anchor="end">'
            f"accuracy limit {format_percent(accuracy)}</text>"
        )
    if size is not None:
        x = frame.x(size)
        yield f'<path class="l" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
        yield (
            f'<text class="h" x="{x - 7:.1f}" y="{_TOP + 6}" text-anchor="end">'
            f"size limit {format_bytes(size)}</text>"
        )


def _stairs(frame: _Frame, stairs: tuple[tuple[float, float], ...]) -> Iterable[str]:
    if stairs:
        (size, accuracy), *rest = stairs
        steps = "".join(f"H{frame.x(b):.1f}V{frame.y(a):.1f}" for b, a in rest)
        yield f'<path class="s" d="M{frame.x(size):.1f} {frame.y(accuracy):.1f}{steps}"/>'


def _members(frame: _Frame, front: Front, plot: Plot) -> Iterable[str]:
    for member in front.members:
        energy = math.nan if member.energy_mj is None else member.energy_mj
        yield (
            f'<circle class="m" cx="{frame.x(member.bytes):.1f}" '
            f'cy="{frame.y(member.accuracy_search):.1f}" r="6.5" '
            f'fill="{_colour(ramp_step(energy, *plot.energy))}">'
            f"<title>{format_bytes(member.bytes)}, {format_percent(member.accuracy_search)}</title>"
            "</circle>"
        )


def _parent_star(frame: _Frame, front: Front) -> str:
    x, y = frame.x(front.parent.bytes), frame.y(front.parent.accuracy_search)
    corners = []
    for corner in range(10):
        radius, angle = (10 if corner % 2 == 0 else 4.2), math.pi * (corner / 5 - 0.5)
        corners.append(f"{x + radius * math.cos(angle):.1f},{y + radius * math.sin(angle):.1f}")
    return (
        f'<polygon class="p" points="{" ".join(corners)}"/>'
        f'<text class="k h" x="{x:.1f}" y="{y - 16:.1f}" text-anchor="middle">'
        f"parent, {format_bytes(front.parent.bytes)}</text>"
    )


def _energy_key(plot: Plot, unit: EnergyUnit) -> Iterable[str]:
    low, high = plot.energy
    if high <= 0:
        return
    left = _WIDTH - _RIGHT - STEPS * _LEGEND_CELL - 70
    for step in range(STEPS):
        yield (
            f'<rect x="{left + step * _LEGEND_CELL}" y="20" width="{_LEGEND_CELL}" height="9" '
            f'fill="{_colour(step)}"/>'
        )
    end = left + STEPS * _LEGEND_CELL
    yield f'<text x="{left - 8}" y="29" text-anchor="end">energy per image {unit.text(low)}</text>'
    yield f'<text x="{end + 8}" y="29">{unit.text(high)}</text>'


def _shape_key(clouds: Clouds) -> Iterable[str]:
    """Explain the marks, with their number, in one line below the picture."""
    missed = clouds.rejected.total + clouds.infeasible.total
    keys = (
        ('<path class="d" stroke="var(--muted)" d="M4 0h0"/>', "dominated", clouds.dominated.total),
        ('<path class="r" d="M1 -3l6 6m-6 0l6-6"/>', "rejected or infeasible", missed),
        ('<path class="r" d="M1 4v-8m4 8v-8m4 8v-8"/>', "no accuracy", clouds.rug.total),
    )
    x = float(_LEFT)
    for mark, text, count in keys:
        if count:
            words = f"{text} {format_count(count)}"
            yield f'<g transform="translate({x:.0f} {_HEIGHT - 18})">{mark}<text x="14" y="4">'
            yield f"{words}</text></g>"
            x += 32 + 6.8 * len(words)


def _colour(step: int) -> str:
    return "var(--muted)" if step < 0 else f"var(--e{step})"
