"""The picture of a report's top that the README shows.

    .venv/bin/python results/picture.py demo/report.html docs/images/report.png

It needs Playwright and a Chromium (`chromium` on the path, or $EDGENEXT_CHROMIUM).
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from edgenext.devices.transports.browser import DEFAULT, find_browser
from edgenext.errors import DeviceError

WIDTH, HEIGHT = 1100, 960
COLOURS = 128
"""Of the palette: the page has few, and the file stays small."""


def main() -> None:
    """Draw the page and save its top."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    try:
        pixels = drawn(options.report, find_browser(DEFAULT)).convert("RGB")
    except DeviceError as e:
        sys.exit(str(e))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    pixels.quantize(COLOURS, dither=Image.Dither.NONE).save(options.picture, optimize=True)
    print(f"{options.picture}: {options.picture.stat().st_size / 1000:.0f} kB")


def drawn(report: Path, browser: Path) -> Image.Image:
    """The top of a page as a light screen shows it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        png = page.screenshot()
        started.close()
    return Image.open(io.BytesIO(png))


if __name__ == "__main__":
    main()
