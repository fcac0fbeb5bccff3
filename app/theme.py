"""The look of the page as a Gradio theme: warm paper and pine green, light and dark. The layout is in style.css.

Text has a contrast of at least 4.5 to its background (WCAG 2.2, AA); tests/app/test_page_look.py measures it.
"""

from __future__ import annotations

from gradio.themes import Base
from gradio.themes.utils import colors, sizes

PINE = colors.Color(
    name="pine",
    c50="#eef6f3",
    c100="#d9ece5",
    c200="#b4d9cc",
    c300="#86c2af",
    c400="#5aa890",
    c500="#2f8c73",
    c600="#14705a",
    c700="#0d5b49",
    c800="#0a4a3c",
    c900="#083b30",
    c950="#04231c",
)
PAPER = colors.Color(
    name="paper",
    c50="#faf8f4",
    c100="#f4f1ea",
    c200="#e6e1d6",
    c300="#d2cbbc",
    c400="#a39b8b",
    c500="#6b6458",
    c600="#554f45",
    c700="#3e3a33",
    c800="#282521",
    c900="#1c1a17",
    c950="#131210",
)
SANS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def build_theme() -> Base:
    """Build the theme. It loads no fonts: those of the system are used."""
    theme = Base(
        primary_hue=PINE,
        secondary_hue=PINE,
        neutral_hue=PAPER,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    )
    light_and_dark: dict[str, tuple[str, str]] = {
        "body_background_fill": ("*neutral_50", "*neutral_950"),
        "body_text_color": ("*neutral_900", "*neutral_100"),
        "body_text_color_subdued": ("*neutral_500", "#b8b0a1"),
        "background_fill_primary": ("#ffffff", "*neutral_900"),
        "background_fill_secondary": ("*neutral_100", "#24211d"),
        "border_color_primary": ("*neutral_200", "#3a362f"),
        "border_color_accent": ("*primary_600", "*primary_300"),
        "color_accent_soft": ("*primary_50", "*primary_950"),
        "link_text_color": ("*primary_700", "*primary_300"),
        "link_text_color_hover": ("*primary_800", "*primary_200"),
        "link_text_color_visited": ("*primary_700", "*primary_300"),
        "link_text_color_active": ("*primary_800", "*primary_200"),
        "block_background_fill": ("#ffffff", "*neutral_900"),
        "block_border_color": ("*neutral_200", "#3a362f"),
        "block_info_text_color": ("*neutral_500", "#b8b0a1"),
        "block_label_background_fill": ("#ffffff", "*neutral_900"),
        "block_label_text_color": ("*neutral_600", "#cfc7b8"),
        "block_label_border_color": ("*neutral_200", "#3a362f"),
        "block_title_background_fill": ("transparent", "transparent"),
        "block_title_text_color": ("*neutral_900", "*neutral_100"),
        "input_background_fill": ("#ffffff", "#24211d"),
        "input_background_fill_focus": ("#ffffff", "#24211d"),
        "input_border_color": ("#8d8576", "#7a7365"),  # 3:1 against what is around it
        "input_border_color_focus": ("*primary_600", "*primary_300"),
        "input_placeholder_color": ("*neutral_500", "#aaa293"),
        "checkbox_background_color": ("#ffffff", "#24211d"),
        "checkbox_border_color": ("#8d8576", "#8d8576"),
        "checkbox_background_color_selected": ("*primary_600", "*primary_500"),
        "checkbox_border_color_selected": ("*primary_600", "*primary_500"),
        "checkbox_border_color_focus": ("*primary_600", "*primary_300"),
        "checkbox_label_background_fill": ("*neutral_100", "#24211d"),
        "checkbox_label_background_fill_hover": ("*neutral_200", "#322e28"),
        "checkbox_label_background_fill_selected": ("*primary_100", "*primary_900"),
        "checkbox_label_text_color": ("*neutral_900", "*neutral_100"),
        "checkbox_label_text_color_selected": ("*primary_900", "#ffffff"),
        "slider_color": ("*primary_600", "*primary_400"),
        "button_primary_background_fill": ("*primary_700", "*primary_300"),
        "button_primary_background_fill_hover": ("*primary_800", "*primary_200"),
        "button_primary_text_color": ("#ffffff", "*primary_950"),
        "button_primary_border_color": ("*primary_700", "*primary_300"),
        "button_secondary_background_fill": ("#ffffff", "#2c2924"),
        "button_secondary_background_fill_hover": ("*neutral_100", "#3a362f"),
        "button_secondary_text_color": ("*neutral_900", "*neutral_100"),
        "button_secondary_border_color": ("*neutral_300", "#4a453c"),
        "button_cancel_background_fill": ("#ffffff", "#2c2924"),
        "button_cancel_background_fill_hover": ("#fdeeee", "#3d2322"),
        "button_cancel_text_color": ("#a61b1b", "#ffb4ab"),
        "button_cancel_border_color": ("#a61b1b", "#ffb4ab"),
    }
    values = {name: light for name, (light, _) in light_and_dark.items()}
    values |= {f"{name}_dark": dark for name, (_, dark) in light_and_dark.items()}
    return theme.set(
        **values,
        color_accent="*primary_600",  # in the dark, style.css lightens it: Gradio has a single value
        block_border_width="1px",
        block_label_border_width="0px",
        block_label_text_size="*text_sm",
        block_title_text_weight="600",
        block_shadow="none",
        button_border_width="1px",
        button_large_text_weight="650",
        button_primary_shadow="none",
        checkbox_border_width="1.5px",
        input_border_width="1px",
        section_header_text_weight="650",
    )
