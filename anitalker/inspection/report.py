"""The report: an HTML page with pictures and tables, each with a caption on how to read it, in one folder."""

from __future__ import annotations

import html
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anitalker.config import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "index.html"
DPI = 110  # dots per inch of the pictures
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1.2em; color: #222 }
h1 { margin-bottom: .2em } h2 { margin-top: 2.2em; border-bottom: 1px solid #ddd } nav a { margin-right: 1em }
figure { margin: 1.2em 0 } img { max-width: 100%; height: auto } figcaption, .how { color: #444; max-width: 60em }
table { border-collapse: collapse; margin: .8em 0 } td, th { padding: .15em 1em .15em 0; text-align: left }
td + td, th + th { text-align: right; font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #eee }
"""


class Report:
    """Context manager that writes the page; its folder appears whole or not at all.

    folder must be new, empty, or hold an earlier report, which is replaced; InputError otherwise. facts: lines
    under the heading.
    """

    def __init__(self, folder: str | Path, heading: str, facts: Sequence[str]) -> None:
        self.folder = check_folder(folder)
        self.heading, self.facts = heading, facts
        self.body: list[str] = []
        self.sections: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self._partial = self.folder.with_name(f".{self.folder.name[:80]}.{uuid.uuid4().hex[:8]}.part")

    def __enter__(self) -> Report:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir()
        return self

    def section(self, key: str, heading: str, introduction: str = "") -> None:
        """Begin a section; file names of its pictures begin with `key`."""
        self.sections.append((key, heading))
        self.body.append(f'<h2 id="{key}">{html.escape(heading)}</h2>')
        if introduction:
            self.paragraph(introduction)

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self.body.append(f'<p class="how">{html.escape(text)}</p>')

    def picture(self, figure: Figure, caption: str, name: str = "") -> None:
        """Save a matplotlib figure as PNG and add it with its caption."""
        file = f"{self.sections[-1][0]}{'-' + name if name else ''}.png"
        figure.savefig(self._partial / file, dpi=DPI)
        self.pictures.append(file)
        text = html.escape(caption)
        self.body.append(
            f'<figure><img src="{file}" alt="{html.escape(self.sections[-1][1])}" loading="lazy">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
        """Add rows of text under headings, with a caption."""
        lines = ["".join(f"<th>{html.escape(heading)}</th>" for heading in headings)]
        lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
        self.body.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
        self.paragraph(caption)

    def page(self) -> str:
        """The page as HTML."""
        links = "".join(f'<a href="#{key}">{html.escape(heading)}</a> ' for key, heading in self.sections)
        facts = "<br>".join(html.escape(fact) for fact in self.facts)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.heading)}</title>'
            f"<style>{STYLE}</style></head><body><h1>{html.escape(self.heading)}</h1><p>{facts}</p><nav>{links}</nav>"
            + "\n".join(self.body)
            + "</body></html>\n"
        )

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is not None:
                return
            (self._partial / PAGE).write_text(self.page(), encoding="utf-8")
            if self.folder.exists():  # empty, or with an earlier report: only a report's own files are removed
                for old in (*self.folder.glob("*.png"), self.folder / PAGE):
                    old.unlink(missing_ok=True)
                for new in self._partial.iterdir():
                    new.replace(self.folder / new.name)
            else:
                self._partial.replace(self.folder)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)


def check_folder(folder: str | Path) -> Path:
    """The absolute path of a folder that a report may be written to; InputError if it holds something else."""
    path = Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise InputError(f"output is a file: {str(folder)!r}; give a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / PAGE).is_file():
        raise InputError(f"output folder {str(folder)!r} holds other files; give a new folder, or one with a report")
    return path
