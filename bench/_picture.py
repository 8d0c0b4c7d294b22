"""A plotly figure as a PNG for the docs, drawn by the Chromium that the browser tests use; nothing is fetched."""

import os
import shutil
import tempfile
from pathlib import Path

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
INK, TEAL, SLATE, AMBER = "#1c2321", "#0f766e", "#64748b", "#b45309"
"""The house's colors, as in .streamlit/config.toml."""


def save(figure: go.Figure, name: str, *, width: int = 960, height: int = 480) -> Path:
    """Write docs/pictures/NAME.png at twice the pixels, on paper white; returns its path."""
    figure.update_layout(
        template="plotly_white", width=width, height=height, font={"family": "Inter, sans-serif", "color": INK}
    )
    target = PICTURES / f"{name}.png"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = Path(folder) / "figure.html"
        page_file.write_text(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}), encoding="utf-8")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".main-svg")
        page.wait_for_timeout(300)
        page.screenshot(path=str(target), clip={"x": 0, "y": 0, "width": width, "height": height})
        browser.close()
    return target
