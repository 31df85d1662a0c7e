"""``python tools/screenshots.py FOLDER [PAGE ...]``: pages, wide and narrow, light and dark."""

from __future__ import annotations

import argparse
from pathlib import Path

from browser import chromium, new_context, pages, serve

WIDTHS = (1280, 390)
THEMES = ("light", "dark")


def main(folder: Path, names: list[str]) -> None:
    """Write FOLDER/page-width-theme.png for each page whose path holds one of the names."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [page for page in pages() if not names or any(name in page for name in names)]
    with serve() as address, chromium() as browser:
        for width in WIDTHS:
            for theme in THEMES:
                context, _ = new_context(browser, width, theme)
                tab = context.new_page()
                for page in wanted:
                    tab.goto(f"{address}/{page}", wait_until="load")
                    tab.wait_for_timeout(600)  # formulas are set after the page has loaded
                    tab.screenshot(
                        path=folder / f"{Path(page).stem}-{width}-{theme}.png", full_page=True
                    )
                context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Photograph built pages, wide and narrow.")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("pages", nargs="*", help="parts of their paths; all pages when none")
    options = parser.parse_args()
    main(options.folder, options.pages)
