"""The built book on localhost, and a Chromium that sees nothing else."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from playwright.sync_api import Browser, BrowserContext, Route, sync_playwright

__all__ = ["SITE", "chromium", "new_context", "pages", "serve"]

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path = SITE) -> Iterator[str]:
    """Serve a folder on a free port of localhost; the value is the address, without a slash."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            yield browser
        finally:
            browser.close()


def new_context(
    browser: Browser, width: int = 1280, theme: str = "light", motion: str = "reduce"
) -> tuple[BrowserContext, list[str]]:
    """A window that reaches localhost alone, and the list of what it asked elsewhere for.

    Args:
        browser: where to open it.
        width: in CSS pixels.
        theme: ``light`` or ``dark``, as the reader has chosen with the button.
        motion: ``reduce`` or ``no-preference``, as the reader has told the system.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        reduced_motion=motion,  # type: ignore[arg-type]
    )
    context.add_init_script(f"localStorage.setItem('mode', '{theme}')")
    elsewhere: list[str] = []

    def hold_back(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", hold_back)
    return context, elsewhere


def pages() -> list[str]:
    """The pages of the book, as paths below the site, in the order of the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]] + [page["file"] for part in toc["parts"] for page in part["chapters"]]
    return [f"{file}.html" for file in files]
