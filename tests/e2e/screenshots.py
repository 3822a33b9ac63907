"""Draw the page anew for the README and for a critical eye: `make screenshots`.

Runs the real services on the sample blog, walks through the page, and writes PNGs into deploy/pictures (the
README's) and tests/screenshots (all pages, light and dark, wide and narrow; not kept in git).
"""

import os
import re
import tempfile

from services.supervisor import Supervisor
from tests.e2e import browser
from tests.e2e.system import ROOT, SAMPLE_BLOG
from tests.waiting import wait_for

PICTURES = ROOT / "deploy" / "pictures"
ALL = ROOT / "tests" / "screenshots"


def main() -> None:
    ALL.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "NONESUCH_DATA": f"{folder}/data", "NONESUCH_CACHE": f"{folder}/cache"}
        supervisor = Supervisor(environ, free_ports=True)
        supervisor.start(progress=print)
        try:
            draw(supervisor.page_url())
        finally:
            supervisor.stop()


def draw(link: str) -> None:
    site = link.partition("/?")[0]
    with browser.chromium() as page:
        page.goto(link)
        page.screenshot(path=ALL / "overview-empty.png", full_page=True)
        browser.upload(page, site, sorted(SAMPLE_BLOG.rglob("*.md")))
        browser.train(page, site, "tides", steps=1500, sample_every=60, save_every=500, validate_every=60)
        wait_for(lambda: browser.step_shown(page) >= 120, "the curve has a shape", 900)
        page.screenshot(path=PICTURES / "run.png", clip={"x": 0, "y": 0, "width": 1280, "height": 860})
        page.screenshot(path=ALL / "run-live.png", full_page=True)
        wait_for(lambda: page.inner_text("#state").strip() == "finished", "the run ends", 1800)
        browser.train(page, site, "harbour", steps=100, validate_every=20, sample_every=0)
        wait_for(lambda: page.inner_text("#state").strip() == "finished", "another run ends", 900)
        page.goto(f"{site}/runs/tides")
        page.click("#publish button")
        page.wait_for_url("**/models**", timeout=browser.PATIENCE_MS)
        browser.write(page, site, "The ferry", 160)
        page.screenshot(path=PICTURES / "try.png", full_page=True)
        # The last one recites, as a model does that was trained for this long.
        for fields in (
            {},
            {"opening": "The ferry did not come."},
            {"title": "On screws", "temperature": "0.5"},
        ):
            shelved = browser.shelve(page, site, **fields)
        if page.locator("mark").count():
            page.hover("mark")
        page.screenshot(path=PICTURES / "originality.png", clip={"x": 0, "y": 0, "width": 1280, "height": 860})
        page.click("button:has-text('Approve')")
        page.goto(f"{site}/shelf")
        page.screenshot(path=PICTURES / "shelf.png", clip={"x": 0, "y": 0, "width": 1280, "height": 860})
        browser.play(page, site)
        page.screenshot(path=PICTURES / "game.png", clip={"x": 0, "y": 0, "width": 1280, "height": 860})
    names = {"overview": "/", "posts": "/posts", "import": "/posts/report/1",
             "report": "/corpus/report", "rules": "/corpus/rules",
             "post": "/posts/view?path=2021-04-17-the-rule-of-twelfths.md",
             "draft": "/posts/view?path=2024-05-04-a-bigger-workshop.md",
             "left-out": "/posts?show=out", "runs": "/runs", "start": "/start",
             "run": "/runs/tides", "samples": "/samples?run=tides", "models": "/models", "try": "/try",
             "shelf": "/shelf", "shelved": shelved.removeprefix(site), "write": "/shelf/write", "game": "/game",
             "compare": "/runs/-compare?run=tides&run=harbour",
             "missing": "/runs/nothing", "login": "/login"}  # fmt: skip
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            with browser.chromium(width, scheme) as page:
                page.goto(link)
                for name, path in names.items():
                    page.goto(f"{site}{path}")
                    page.wait_for_timeout(1200)
                    page.screenshot(path=ALL / f"{name}-{scheme}-{width}.png", full_page=True)
                    overflow = page.evaluate("document.documentElement.scrollWidth") - width
                    print(f"{name:9} {scheme:5} {width:5} {'wide by ' + str(overflow) if overflow > 0 else ''}")
                complaints = [c for c in page.complaints if not re.search(r"404", c)]
                print("\n".join(complaints))


if __name__ == "__main__":
    main()
