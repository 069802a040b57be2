"""A shape's CPU time a request as a picture: one bar for each server, as SVG text."""
from html import escape

import report

ROW, BAR, LEFT, WIDTH, RIGHT, TOP = 26, 16, 150, 480, 130, 48    # pixels
COLOURS = {"ours": "#2f7ed8", "beside": "#8fb8e8", "floor": "#8a8f98", "peer": "#d9822b"}
LEGEND = {"ours": "ours", "beside": "ours, plaintext", "floor": "floors", "peer": "other servers"}

# In a Markdown page the picture is an <img>, which follows the reader's light or dark mode by itself.
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-weight: 600; font-size: 14px; }
.spread { stroke: #24292f; stroke-width: 1.5; }
.page { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .spread { stroke: #e6edf3; }
  .page { fill: #0d1117; }
}
</style>"""


def text(x, y, words, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{escape(words)}</text>'


def legend(y, kinds):
    parts, x = [], LEFT
    for kind, words in LEGEND.items():
        if kind not in kinds:
            continue
        parts.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" rx="2" fill="{COLOURS[kind]}"/>')
        parts.append(text(x + 17, y, words))
        x += 40 + 8 * len(words)
    return parts


def bar(result, name, y, scale):
    """Name, bar, a thin line from minimum to maximum, and the median as text."""
    numbers = result.values(name, "cpu_us")
    middle, low, high = report.median(numbers), min(numbers), max(numbers)
    at = lambda us: LEFT + min(us * scale, WIDTH)
    line = y + BAR / 2
    return [text(LEFT - 8, y + 13, name, ' text-anchor="end"'),
            f'<rect x="{LEFT}" y="{y}" width="{at(middle) - LEFT:.1f}" height="{BAR}" rx="2" '
            f'fill="{COLOURS[result.good[name]["server"].kind]}"/>',
            f'<line class="spread" x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{line}" y2="{line}"/>',
            text(max(at(high), at(middle)) + 8, y + 13, f"{report.micro(middle)} us")]


def svg(result):
    names = [n for n in report.by_cost(result) if result.values(n, "cpu_us")]
    if not names:
        return ""
    scale = WIDTH / (1.15 * max(result.median(n, "cpu_us") for n in names))    # a spread beyond the edge is cut there
    height, width = TOP + ROW * len(names) + 14, LEFT + WIDTH + RIGHT
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
             STYLE, f'<rect class="page" width="{width}" height="{height}"/>',
             text(12, 20, f"CPU time a request: {result.shape.title}", ' class="title"'), *legend(40, {result.good[n]["server"].kind for n in names})]
    for number, name in enumerate(names):
        parts += bar(result, name, TOP + 4 + ROW * number, scale)
    return "\n".join(parts + ["</svg>"]) + "\n"
