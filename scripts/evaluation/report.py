"""The report as a page: targets, tables and contact sheets in one folder that opens in any browser."""

from __future__ import annotations

import html
import json
from pathlib import Path

from scripts.evaluation.targets import check_targets

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0 1.6em } td, th { padding: .15em .9em .15em 0; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #ddd }
.missed { color: #a00; font-weight: 600 } .reached { color: #060 } img { max-width: 100%; margin: .2em 0 1em }
"""
SHEETS = (  # beginning of the file name, heading
    ("held-worst", "Held still: the faces that look least like themselves (the still first)"),
    ("open-mouths", "Open mouths in silence: the still above, after three seconds below"),
    ("speaking-", "Speaking: true above, generated below"),
    ("cross-", "Cross-reenactment: the driver above, generated below"),
    ("", "Self-reenactment: true above, generated below"),
)
MAIN = ("lip_correlation", "percentile", "mean", "difference", "accuracy", "f1", "value")  # whose is plain `interval`


def flat(values: dict, prefix: str = "") -> list[tuple[str, str, str]]:
    """(name, value, interval) of every figure of a part; lists of figures per clip are left to the JSON."""
    rows = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key == "interval" or key.endswith("_interval"):
            continue
        if isinstance(value, dict):
            rows += flat(value, f"{name}.")
        elif not isinstance(value, list):
            rows.append((name, number(value), interval_of(key, values)))
        elif value and all(isinstance(item, str) for item in value):
            rows.append((name, ", ".join(value), ""))
    return rows


def interval_of(key: str, values: dict) -> str:
    """The interval of a figure: in the dict `interval`, as NAME_interval, or plain `interval` for the main figure."""
    interval = values.get("interval")
    if isinstance(interval, dict):
        interval = interval.get(key)
    elif key not in MAIN:
        interval = values.get(f"{key}_interval")
    return f"[{number(interval[0])}, {number(interval[1])}]" if interval else ""


def number(value: object) -> str:
    """A figure with four digits."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: list[tuple], heads: tuple[str, ...] = ("", "value", "95% interval")) -> str:
    """Rows of texts -> an HTML table; all but the first column are numbers, or coloured "reached" and "missed"."""
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    lines = []
    for first, *cells in rows:
        marks = (cell if cell in ("reached", "missed") else "number" for cell in cells)
        columns = "".join(f"<td class={m}>{html.escape(c)}</td>" for m, c in zip(marks, cells, strict=True))
        lines.append(f"<tr><td>{html.escape(first)}</td>{columns}</tr>")
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def page(report: dict, sheets: list[str]) -> str:
    """The whole page; sheets: names of PNG files beside it."""
    title = html.escape(f"{report.get('model')} on {report.get('split')}")
    verdicts = [
        (what, f"{value:.3f}", limit, "reached" if reached else "missed")
        for what, value, limit, reached in check_targets(report)
    ]
    sections = [f"<h1>{title}</h1>", table([(k, str(v)) for k, v in report.items() if not isinstance(v, dict)])]
    sections += ["<h2>Targets</h2>", table(verdicts, ("", "value", "wanted", ""))]
    for name, values in report.items():
        if isinstance(values, dict):
            sections += [f"<h2>{html.escape(name)}</h2>", table(flat(values))]
    for start, heading in SHEETS:
        chosen = [name for name in sorted(sheets) if name.startswith(start)]
        sheets = [name for name in sheets if name not in chosen]
        sections += [f"<h2>{html.escape(heading)}</h2>"] if chosen else []
        sections += [f'<p>{html.escape(n)}<br><img loading="lazy" src="{html.escape(n)}"></p>' for n in chosen]
    head = f"<meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return f"<!doctype html><html><head>{head}</head><body>{''.join(sections)}</body></html>\n"


def write(report: dict, folder: str | Path) -> Path:
    """FOLDER/report.json, and FOLDER/report.html beside the sheets that are there; the path of the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1))
    path = folder / "report.html"
    path.write_text(page(report, [file.name for file in folder.glob("*.png")]), encoding="utf-8")
    return path
