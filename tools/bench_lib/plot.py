# SPDX-License-Identifier: ISC
"""Plots as SVG, written by hand: bars of a few groups, and lines over a logarithmic axis. No library needed."""
import html
import math

COLOURS = {"direct": "#8c8c8c", "haproxy": "#c9a227", "pgbouncer": "#1f6fb4", "pgbouncer-session": "#6fa8dc",
           "pgbouncer-new": "#0b3d66", "pgpool": "#b04a4a", "pgsteer": "#2e8b57"}
SPARE_COLOURS = ("#2e8b57", "#1f6fb4", "#b04a4a", "#c9a227", "#7a4fa3", "#8c8c8c")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 840, 360, 70, 20, 60, 50


class Canvas:
    """The frame: title, legend, and a vertical axis from 0 to `top`."""

    def __init__(self, title, unit, series, top):
        self.top = nice(top)
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
                      f'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
        self.text(LEFT, 20, f"{title} ({unit})", weight="bold", size=14)
        x = LEFT
        for number, name in enumerate(series):
            self.parts.append(f'<rect x="{x}" y="32" width="10" height="10" fill="{colour(name, number)}"/>')
            self.text(x + 14, 41, name)
            x += 30 + 7 * len(name)
        for step in range(6):
            value = self.top * step / 5
            y = self.y(value)
            self.parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            self.text(LEFT - 6, y + 4, number_text(value), anchor="end")

    def y(self, value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, self.top) / self.top

    def text(self, x, y, text, anchor="start", weight="normal", size=12):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
                          f'font-size="{size}">{html.escape(text)}</text>')

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join([*self.parts, "</svg>", ""]))


def colour(name, number):
    return COLOURS.get(name, SPARE_COLOURS[number % len(SPARE_COLOURS)])


def nice(value):
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value)


def number_text(value):
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * limit or value >= limit and letter == "M":
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


def bars(path, title, unit, groups, series, values):
    """values[group, series]; what is missing leaves a gap."""
    found = [v for v in values.values() if v]
    if not found:
        return False
    canvas = Canvas(title, unit, series, max(found))
    width = (WIDTH - LEFT - RIGHT) / len(groups)
    bar = width * 0.85 / len(series)
    for g, group in enumerate(groups):
        for s, name in enumerate(series):
            value = values.get((group, name))
            if value:
                x, y = LEFT + g * width + width * 0.075 + s * bar, canvas.y(value)
                canvas.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.92:.1f}" '
                                    f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{colour(name, s)}"/>')
                if bar > 18:
                    canvas.text(x + bar * 0.46, y - 3, f"{value:.3g}" if value < 1000 else number_text(round(value, -2)),
                                "middle", size=10)
        canvas.text(LEFT + (g + 0.5) * width, HEIGHT - BOTTOM + 18, str(group), "middle")
    canvas.save(path)
    return True


def lines(path, title, unit, across, series):
    """series: {name: {x: y}}, over a logarithmic axis of x that is labelled `across`."""
    xs = sorted({x for points in series.values() for x in points})
    if not xs:
        return False
    canvas = Canvas(title, unit, list(series), 1.1 * max(y for points in series.values() for y in points.values()))
    low, high = math.log(xs[0]), math.log(xs[-1]) if xs[-1] > xs[0] else math.log(xs[0]) + 1

    def place(x):
        return LEFT + 20 + (WIDTH - LEFT - RIGHT - 40) * (math.log(x) - low) / (high - low)

    for number, (name, points) in enumerate(series.items()):
        placed = [(place(x), canvas.y(points[x])) for x in sorted(points)]
        canvas.parts.append(f'<polyline fill="none" stroke="{colour(name, number)}" stroke-width="2" points="' +
                            " ".join(f"{x:.1f},{y:.1f}" for x, y in placed) + '"/>')
        canvas.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour(name, number)}"/>' for x, y in placed]
    for x in xs:
        canvas.text(place(x), HEIGHT - BOTTOM + 18, f"{x:,}", "middle")
    canvas.text(WIDTH / 2, HEIGHT - 12, across, "middle")
    canvas.save(path)
    return True
