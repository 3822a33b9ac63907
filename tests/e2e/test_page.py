"""The page of the compose stack in a real browser: upload, train, watch the chart move, publish, generate."""

import os
import re
from pathlib import Path

import pytest

from tests.e2e import browser
from tests.e2e.system import SAMPLE_BLOG
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(autouse=True)
def chromium_is_there():
    """Without Chromium these tests are skipped, or fail where nothing may be skipped."""
    if not Path(browser.CHROMIUM).exists() and not os.environ.get("NONESUCH_TEST_REQUIRE_ALL"):
        pytest.skip(f"no {browser.CHROMIUM}: install Debian's package chromium")


def test_from_posts_to_a_post_in_the_browser(stack):
    link = stack.page()
    site = link.partition("/?")[0]
    with browser.chromium() as page:
        page.goto(f"{site}/posts")
        assert "/login" in page.url, "nothing is shown without the token"

        page.goto(link)
        assert page.locator("text=Sign out").is_visible()
        assert "token" not in page.url

        posts = sorted(SAMPLE_BLOG.glob("*.md"))
        browser.upload(page, site, posts)
        assert re.search(r"\b\d+ (new|posts)", page.inner_text("main"))

        before = browser.train(page, site, "page1", steps=60, batch_size=4, context=64, save_every=30, sample_every=20)
        moved = wait_for(lambda: (now := browser.chart_points(page)) > before and now, "the chart moves")
        assert moved > before
        browser.wait_until_state(page, "finished")
        assert page.inner_text("#line").startswith("[60 | ")
        assert page.locator("#samples article").count() >= 2

        page.click("#publish button")
        page.wait_for_url("**/models**", timeout=browser.PATIENCE_MS)
        assert "page1" in page.inner_text("main")

        written = wait_for(lambda: browser.write(page, site, "The tide", 40), "the model writes")
        assert len(written.split()) > 5

        page.goto(browser.shelve(page, site, title="High water", max_new_tokens="60"))
        assert "High water" in page.inner_text("main")
        page.click("button:has-text('Approve')")
        page.wait_for_selector("text=is approved")

        assert re.match(r"(Right|Fooled)\.", browser.play(page, site))
        assert page.complaints == []


def test_a_corpus_is_read_judged_and_chosen_from_on_the_page(stack):
    link = stack.page()
    site = link.partition("/?")[0]
    with browser.chromium() as page:
        page.goto(link)
        browser.upload(page, site, sorted(SAMPLE_BLOG.glob("*.md")))

        page.goto(f"{site}/corpus/report")
        assert page.locator("svg.bars rect").count() > 10
        assert "124M" in page.inner_text("main")
        page.click("td a:has-text('1 post')")  # the draft, by the reason that it was left out for
        page.wait_for_url("**/posts?**")
        page.click("td a")
        page.wait_for_url("**/posts/view?**")
        assert "Left out." in page.inner_text("main")
        assert "What the rules do" in page.inner_text("main")

        page.click("button[value=include]")
        page.wait_for_selector("text=You took it in")
        page.click("button[value=rules]")
        page.wait_for_selector("text=The rules left it out")

        page.goto(f"{site}/corpus/rules")
        page.check("[name=include_drafts]")
        page.click("form.rules button.primary")
        page.wait_for_url("**/corpus/report**")
        assert "1 post came in" in page.inner_text(".flashes")
        page.goto(f"{site}/corpus/rules")
        page.uncheck("[name=include_drafts]")
        page.click("form.rules button.primary")
        page.wait_for_url("**/corpus/report**")
        assert "1 post went out" in page.inner_text(".flashes")
        assert page.complaints == []


def test_a_stopped_run_goes_on_from_the_page(stack):
    link = stack.page()
    site = link.partition("/?")[0]
    with browser.chromium() as page:
        page.goto(link)
        browser.upload(page, site, sorted(SAMPLE_BLOG.glob("2016-*.md")))
        browser.train(page, site, "page2", steps=2000, batch_size=2, context=32, sample_every=0)
        page.click('form[action$="/stop"] button')
        browser.wait_until_state(page, "stopped")
        step = browser.step_shown(page)

        page.click('form[action$="/resume"] button')
        wait_for(lambda: browser.step_shown(page) > step, "the run goes on")
        page.click('form[action$="/stop"] button')
        browser.wait_until_state(page, "stopped")
        assert page.complaints == []
