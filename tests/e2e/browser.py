"""The page as a person uses it, in headless Chromium."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.waiting import wait_for

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 120_000  # training shares two cores with everything else


@contextmanager
def chromium(width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """A page in a fresh browser; what the browser complains of is in `page.complaints`."""
    with sync_playwright() as playwright:
        # Debian's browser: Playwright's own would be a download. As root it needs --no-sandbox.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": width, "height": 860}, color_scheme=scheme)
        page.complaints = []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        yield page
        browser.close()


def upload(page: Page, site: str, posts: list[Path]) -> None:
    """Choose files on the posts page and wait for the import's report."""
    page.goto(f"{site}/posts")
    page.set_input_files("#files", [str(post) for post in posts])
    page.wait_for_url("**/posts/report/**", timeout=PATIENCE_MS)


def train(page: Page, site: str, run: str, **fields: int) -> int:
    """Fill in the form, start, and wait until the run's page shows the first step; return the points it drew before."""
    page.goto(f"{site}/start")
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    page.fill("[name=run]", run)
    for name, value in fields.items():
        page.fill(f"[name={name}]", str(value))
    page.click("form.train button.primary")
    page.wait_for_url(f"**/runs/{run}", timeout=PATIENCE_MS)
    drawn = chart_points(page)
    wait_for(lambda: step_shown(page) > 0, "the run's page shows a step", PATIENCE_MS / 1000)
    return drawn


def step_shown(page: Page) -> int:
    """The step that the run's page shows, 0 before the first.

    Polled from here: the page's content security policy lets nothing evaluate strings in it, which is how
    Playwright's own `wait_for_function` works.
    """
    found = re.match(r"\[(\d+) ", page.inner_text("#line"))
    return int(found[1]) if found else 0


def chart_points(page: Page) -> int:
    """Points of the loss curve that is drawn."""
    return page.evaluate("(document.getElementById('chart').data || [{x: []}])[0].x.length")


def wait_until_state(page: Page, state: str) -> None:
    """Wait until the run's badge says `state`, without loading the page again."""
    wait_for(lambda: page.inner_text("#state").strip() == state, f"the run is {state}", PATIENCE_MS / 1000)


def write(page: Page, site: str, prompt: str, tokens: int) -> str:
    """Have a post written on the `Try it` page and return what the model added."""
    page.goto(f"{site}/try")
    page.fill("[name=prompt]", prompt)
    page.fill("[name=max_new_tokens]", str(tokens))
    page.click("#write")
    page.wait_for_selector("#after:not([hidden])", timeout=PATIENCE_MS)
    return page.inner_text("#text")


def shelve(page: Page, site: str, **fields: str) -> str:
    """Have a whole post written and return the address of its page on the shelf."""
    page.goto(f"{site}/shelf/write")
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    page.click("form.wish button.primary")
    page.wait_for_url(re.compile(r"/shelf/\d+$"), timeout=PATIENCE_MS)
    return page.url


def play(page: Page, site: str) -> str:
    """Wait until the game's excerpts are gathered, play a round by keyboard, and return what was told."""
    page.goto(f"{site}/game")
    page.wait_for_selector("main:has(#round):not(:has(#job))", timeout=PATIENCE_MS)  # gathered
    page.wait_for_load_state("load")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#next")
    told = page.inner_text(".referee")
    page.keyboard.press("Enter")
    page.wait_for_selector("button[name=guess]")
    return told
