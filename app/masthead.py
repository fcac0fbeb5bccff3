"""Top and bottom of the page, in HTML: the logo, what the page is for, links and the licence."""

from __future__ import annotations

from html import escape
from pathlib import Path

LOGO = Path(__file__).parent / "logo.svg"
PAPER_URL = "https://arxiv.org/abs/2405.03121"
LICENCE_URL = "https://www.apache.org/licenses/LICENSE-2.0"
TAGLINE = (
    "One portrait, and a recording, a text or a video: the portrait speaks. Or a video, whose people say other words."
)
ON_LOGOUT = (  # the guard forgets the visitor at /logout
    "element.addEventListener('click', async e => { const link = e.target.closest('[data-logout]'); if (!link) return; "
    "e.preventDefault(); if (await askFirst('Log out? Your files and videos on this server are deleted.', 'Log out')) "
    "location.href = link.href; })"
)


def logo() -> str:
    """The logo as inline SVG; screen readers skip it, the name stands beside it."""
    return LOGO.read_text(encoding="utf-8").strip().replace("<svg ", "<svg class='logo' aria-hidden='true' ", 1)


def header(can_log_out: bool) -> str:
    """Logo, name and tagline; the link that logs out where a password was asked for."""
    logout = "<a class='logout' href='logout' data-logout>Log out</a>" if can_log_out else ""
    return f"<header class='masthead'>{logo()}<div><h1>AniTalker</h1><p>{escape(TAGLINE)}</p></div>{logout}</header>"


def footer() -> str:
    """The rules of use, links and the licence."""
    return (
        "<footer class='colophon'><p>Use faces and voices of people who agreed. Every video is marked as synthetic: "
        "signed credentials and a watermark that nobody sees. The example people are AI-generated (CC0), the example "
        "recording is from LibriSpeech (CC&nbsp;BY&nbsp;4.0).</p>"
        f"<p><a href='{PAPER_URL}' rel='noopener' target='_blank'>The paper</a>"
        "<a href='?view=api'>Use it from a program</a>"
        f"<a href='{LICENCE_URL}' rel='noopener' target='_blank'>Licence: Apache 2.0</a></p></footer>"
    )
