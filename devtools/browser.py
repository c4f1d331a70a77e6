"""A headless Chromium that opens pages, presses buttons, and notes what goes wrong meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from devtools.failure import DevError
from devtools.programs import find_program

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Dialog, Locator, Request, Response

#: How long a page or an element may take on a machine that is busy with other things, seconds.
PATIENCE_S = 30.0
#: What script/setup --browser makes.
PROGRAM = "chromium-headless-shell"
_ADVICE = "Run script/setup --browser, which brings one, or install chromium"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong on a page: what, and the address that it is about, if any."""

    what: str
    url: str = ""


class Browser:
    """One page of one browser on the site `url`; a context manager, single-threaded.

    Dialogs are accepted, and their texts kept. Raises DevError without a browser.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._stack = ExitStack()
        #: Answers from 400 up, failed requests, errors of scripts and in the console.
        self.faults: list[Fault] = []
        #: The texts of the dialogs that were accepted.
        self.dialogs: list[str] = []

    def __enter__(self) -> Self:
        try:
            from playwright.sync_api import Error, sync_playwright

            program = find_program(PROGRAM)
        except ImportError as error:
            raise DevError("Playwright is not installed", advice=_ADVICE) from error
        except DevError as error:
            raise DevError("there is no Chromium", advice=_ADVICE) from error
        with ExitStack() as stack:
            playwright = stack.enter_context(sync_playwright())
            try:
                chromium = playwright.chromium.launch(
                    executable_path=program, args=["--disable-gpu"]
                )
            except Error as error:
                raise DevError(
                    f"{program} does not start: {error.message.splitlines()[0]}", advice=_ADVICE
                ) from error
            stack.callback(chromium.close)
            context = chromium.new_context(
                locale="en-US",
                extra_http_headers=self._headers,
                viewport={"width": 1280, "height": 1000},
            )
            context.set_default_timeout(PATIENCE_S * 1000)
            self.page = context.new_page()
            self._stack = stack.pop_all()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.faults.append(Fault(f"script: {error}")))
        self.page.on("requestfailed", self._on_failure)
        self.page.on("response", self._on_response)
        self.page.on("dialog", self._on_dialog)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def visit(self, path: str) -> int:
        """Open a page of the site with all that belongs to it; returns the HTTP status."""
        response = self.page.goto(self._url + path, wait_until="load")
        assert response is not None
        return int(response.status)

    def press(self, name: str, *, within: Locator | None = None) -> None:
        """Press the button of that exact name and wait for the page that follows."""
        button = (within or self.page).get_by_role("button", name=name, exact=True)
        with self.page.expect_navigation(wait_until="load"):
            button.click()

    def follow(self, link: Locator) -> int:
        """Click a link; returns the HTTP status of the page that it leads to."""
        with self.page.expect_navigation(wait_until="load") as navigation:
            link.click()
        response = navigation.value
        return int(response.status)

    def row(self, text: str) -> Locator:
        """The table row that holds this text."""
        return self.page.locator("tr", has_text=text)

    def text(self) -> str:
        """What a reader sees."""
        return str(self.page.locator("body").inner_text())

    def screenshot(self, path: Path) -> None:
        """Save the whole page as a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, full_page=True)

    def _on_console(self, message: ConsoleMessage) -> None:
        # What did not load is told by its answer, with its address.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(Fault(f"console: {message.text}", message.location["url"]))

    def _on_failure(self, request: Request) -> None:
        self.faults.append(Fault(f"{request.method} failed: {request.failure}", request.url))

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            method = response.request.method
            self.faults.append(Fault(f"{method} answered with {response.status}", response.url))

    def _on_dialog(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.accept()
