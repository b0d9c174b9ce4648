"""The Studio's look: a Gradio theme with bundled fonts, quiet surfaces and one accent; style sheets, script, icon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_STUDIO = Path(__file__).parent.parent
# In this order: of two rules with equal weight the later wins, and those for phones follow the rules that they change.
_STYLES = (
    "page/page.css",
    "widgets/widgets.css",
    "guide/guide.css",
    "form/form.css",
    "scores/tab.css",
    "map/tab.css",
    "page/phone.css",
    "why/panel.css",
    "compare/tab.css",
    "corpus/tab.css",
    "code/tab.css",
    "diagnose/tab.css",
)
# From the lightest to the darkest.
_ACCENT = gr.themes.Color(
    *"#eef4fc #d9e7f8 #b5cff0 #86b1e5 #5490d7 #2f74c4 #215ea6 #1c4c87 #193f6e #17345a #0f213a".split()
)
_NEUTRAL = gr.themes.Color(
    *"#f6f7f9 #eceff3 #dde2e9 #c3cad5 #929cab #657082 #4a5465 #333b48 #212833 #181d25 #10141a".split()
)


def studio_look() -> dict[str, Any]:
    """The arguments of `gr.Blocks.launch` that decide how the page looks."""
    return {
        "theme": _theme(),
        "css_paths": [_STUDIO / style for style in _STYLES],
        "js": (_STUDIO / "page" / "page.js").read_text(encoding="utf-8"),
        "favicon_path": _STUDIO / "page" / "favicon.svg",
    }


def _theme() -> gr.themes.Base:
    # Only bundled and system fonts, so that the page fetches none. Of the bundled weights these two have all letters.
    theme = gr.themes.Base(
        primary_hue=_ACCENT,
        secondary_hue=_ACCENT,
        neutral_hue=_NEUTRAL,
        radius_size="md",
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "Consolas", "monospace"],
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#1f2733",
        body_text_color_dark="#e6eaf0",
        body_text_color_subdued="*neutral_500",
        input_border_width="1px",
        input_radius="8px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_padding="0",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_950",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        input_shadow_focus="0 0 0 3px color-mix(in srgb, var(--primary-400) 30%, transparent)",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_background_fill_hover_dark="*primary_400",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        link_text_color="*primary_600",
        link_text_color_dark="*primary_300",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="*neutral_900",
        layout_gap="16px",
    )
