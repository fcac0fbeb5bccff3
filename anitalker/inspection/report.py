"""The report: pictures and tables with a sentence each that says how to read them, as one page in one folder."""

from __future__ import annotations

import html
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from anitalker.config import InputError

PAGE = "index.html"
DPI = 110  # of the pictures
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1.2em; color: #222 }
h1 { margin-bottom: .2em } h2 { margin-top: 2.2em; border-bottom: 1px solid #ddd } nav a { margin-right: 1em }
figure { margin: 1.2em 0 } img { max-width: 100%; height: auto } figcaption, .how { color: #444; max-width: 60em }
table { border-collapse: collapse; margin: .8em 0 } td, th { padding: .15em 1em .15em 0; text-align: left }
td + td, th + th { text-align: right; font-variant-numeric: tabular-nums } tr { border-bottom: 1px solid #eee }
"""


class Report:
    """Context manager: a folder that appears whole or not at all.

    folder: must be new, empty, or hold an earlier report, which is replaced; InputError otherwise.
    """

    def __init__(self, folder: str | Path, heading: str, facts: Sequence[str]) -> None:
        self.folder = check_folder(folder)
        self.heading, self.facts = heading, facts
        self.parts: list[str] = []
        self.sections: list[tuple[str, str]] = []
        self.pictures: list[str] = []
        self._made = self.folder.with_name(f".{self.folder.name[:80]}.{uuid.uuid4().hex[:8]}.part")

    def __enter__(self) -> Report:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._made.mkdir()
        return self

    def section(self, key: str, heading: str, sentence: str = "") -> None:
        """Begin a section; its key names its pictures."""
        self.sections.append((key, heading))
        self.parts.append(f'<h2 id="{key}">{html.escape(heading)}</h2>')
        if sentence:
            self.words(sentence)

    def words(self, sentence: str) -> None:
        """A paragraph."""
        self.parts.append(f'<p class="how">{html.escape(sentence)}</p>')

    def picture(self, figure, how: str, name: str = "") -> None:
        """A matplotlib figure as PNG, with how to read it."""
        file = f"{self.sections[-1][0]}{'-' + name if name else ''}.png"
        figure.savefig(self._made / file, dpi=DPI)
        self.pictures.append(file)
        text = html.escape(how)
        self.parts.append(
            f'<figure><img src="{file}" alt="{html.escape(self.sections[-1][1])}" loading="lazy">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], how: str) -> None:
        """Rows of text under headings, with how to read them."""
        lines = ["".join(f"<th>{html.escape(one)}</th>" for one in heads)]
        lines += ["".join(f"<td>{html.escape(one)}</td>" for one in row) for row in rows]
        self.parts.append("<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
        self.words(how)

    def page(self) -> str:
        """The page as text."""
        links = "".join(f'<a href="#{key}">{html.escape(heading)}</a> ' for key, heading in self.sections)
        facts = "<br>".join(html.escape(one) for one in self.facts)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.heading)}</title>'
            f"<style>{STYLE}</style></head><body><h1>{html.escape(self.heading)}</h1><p>{facts}</p><nav>{links}</nav>"
            + "\n".join(self.parts)
            + "</body></html>\n"
        )

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is not None:
                return
            (self._made / PAGE).write_text(self.page(), encoding="utf-8")
            if self.folder.exists():  # empty, or an earlier report: of that, only what a report consists of goes
                for old in (*self.folder.glob("*.png"), self.folder / PAGE):
                    old.unlink(missing_ok=True)
                for new in self._made.iterdir():
                    new.replace(self.folder / new.name)
            else:
                self._made.replace(self.folder)
        finally:
            shutil.rmtree(self._made, ignore_errors=True)


def check_folder(folder: str | Path) -> Path:
    """Where a report may go; InputError if something else is there."""
    path = Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise InputError(f"output is a file: {str(folder)!r}; give a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / PAGE).is_file():
        raise InputError(f"output folder {str(folder)!r} holds other files; give a new folder, or one with a report")
    return path
