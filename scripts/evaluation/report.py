"""The report as a page: bars, tables and contact sheets in one folder that opens in any browser."""

from __future__ import annotations

import html
from pathlib import Path

from scripts.evaluation.bars import bars

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0 1.6em } td, th { padding: .15em .9em .15em 0; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #ddd }
.missed { color: #a00; font-weight: 600 } .reached { color: #060 } img { max-width: 100%; margin: .2em 0 1em }
"""
SHEETS = (  # beginning of the file name, heading
    ("held-worst", "Held still: the faces that look least like themselves (the still first)"),
    ("open-mouths", "Open mouths in silence: the still above, after three seconds below"),
    ("speaking-", "Speaking: true above, made below"),
    ("cross-", "Cross-reenactment: the driver above, made below"),
    ("", "Self-reenactment: true above, made below"),
)
MAIN = ("lip_correlation", "percentile", "mean", "difference", "accuracy", "f1", "value")  # whose is plain `interval`


def flat(values: dict, prefix: str = "") -> list[tuple[str, str, str]]:
    """(name, value, interval) of every figure of a part; lists of figures per clip are left to the JSON."""
    rows = []
    intervals = values.get("interval")
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            if key != "interval":
                rows += flat(value, f"{name}.")
        elif key == "interval" or key.endswith("_interval"):
            continue
        elif isinstance(value, list):
            if value and all(isinstance(one, str) for one in value):
                rows.append((name, ", ".join(value), ""))
        else:
            rows.append((name, number(value), span(_interval_of(key, values, intervals))))
    return rows


def _interval_of(key: str, values: dict, intervals: object) -> object:
    """The interval that stands beside a figure: in a dict by its name, as NAME_interval, or for the main figure."""
    if isinstance(intervals, dict):
        return intervals.get(key)
    return intervals if key in MAIN else values.get(f"{key}_interval")


def number(value: object) -> str:
    """A figure with four digits."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def span(interval: object) -> str:
    """[low, high] or nothing."""
    return f"[{number(interval[0])}, {number(interval[1])}]" if isinstance(interval, list) else ""


def table(rows: list[tuple], heads: tuple[str, ...] = ("", "value", "95% interval")) -> str:
    """Rows of texts -> an HTML table; all but the first column are numbers."""
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=number' if n else ''}>{c}</td>" for n, c in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def page(report: dict, sheets: list[str]) -> str:
    """The whole page; sheets: names of PNG files beside it."""
    title = f"{report.get('model')} on {report.get('split')}"
    facts = {k: v for k, v in report.items() if not isinstance(v, dict)}
    parts = [f"<h1>{html.escape(title)}</h1>", table([(html.escape(k), html.escape(str(v))) for k, v in facts.items()])]
    verdicts = [
        (html.escape(what), f"{value:.3f}", limit.replace("<", "&lt;").replace(">", "&gt;"), _mark(reached))
        for what, value, limit, reached in bars(report)
    ]
    parts += ["<h2>Bars</h2>", table(verdicts, ("", "value", "wanted", ""))]
    for name, values in report.items():
        if isinstance(values, dict):
            rows = [tuple(html.escape(cell) for cell in row) for row in flat(values)]
            parts += [f"<h2>{html.escape(name)}</h2>", table(rows)]
    left = list(sheets)
    for start, heading in SHEETS:
        own = [name for name in left if name.startswith(start)]
        left = [name for name in left if name not in own]
        if own:
            parts.append(f"<h2>{html.escape(heading)}</h2>")
            parts += [f'<p>{html.escape(n)}<br><img loading="lazy" src="{html.escape(n)}"></p>' for n in sorted(own)]
    head = f"<meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _mark(reached: bool) -> str:
    return f"<span class={'reached' if reached else 'missed'}>{'reached' if reached else 'missed'}</span>"


def write(report: dict, folder: str | Path) -> Path:
    """FOLDER/report.html beside the sheets that are there; its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    path.write_text(page(report, [file.name for file in folder.glob("*.png")]), encoding="utf-8")
    return path
