"""The planners' pages in a browser: what they show and do, and whether everybody can use them."""

from __future__ import annotations

import io
import re

import openpyxl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    Page,
    Route,
    expect,
)

from tests.support.browser import DESK, PHONE, RULES, signed_in
from tests.support.service import Service

STORE = "/stores/2"
#: Names of what can be pressed and is less than 24 pixels high or wide; links in sentences may be.
SMALL_TARGETS = """() => [...document.querySelectorAll(
  'button, input, select, summary, nav a, table a, .actions a, .more a, .button')]
  .filter((part) => part.type !== 'hidden' && part.getClientRects().length)
  .map((part) => [part, part.getBoundingClientRect()])
  .filter(([, box]) => box.width < 24 || box.height < 24)
  .map(([part, box]) => `${part.outerHTML.slice(0, 80)}: ${box.width} x ${box.height}`)"""


def row(page: Page, day: str):
    return page.locator(f'#days tr[data-date="{day}"]')


def test_the_stacks_link_signs_in_and_leaves_no_token_in_the_address(
    browser: Browser, service: Service
) -> None:
    context = browser.new_context(base_url=service.address)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{STORE}?weeks=4")
    expect(page.get_by_label("Access token")).to_be_focused()
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    page.goto(f"/sign-in?next={STORE}#{service.tokens['reader']}")
    page.wait_for_url(f"**{STORE}")
    assert service.tokens["reader"] not in page.url
    assert not any(service.tokens["reader"] in address for address in asked)
    assert service.tokens["reader"] not in page.evaluate("document.cookie")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(STORE)
    assert "/sign-in?next=" in page.url
    context.close()


def test_a_store_is_found_by_its_number(page: Page) -> None:
    page.get_by_role("search").get_by_label("Store").fill("3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Store 3")
    page.get_by_role("search").get_by_label("Store").fill("99")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("There is no store 99")


def test_the_table_and_the_chart_show_the_forecast_in_force(page: Page, service: Service) -> None:
    stored = service.frame(
        "SELECT date, open, point, q0_1, q0_9 FROM sales.current_forecasts WHERE store = 2 "
        "ORDER BY date"
    )
    page.goto(STORE)
    days = page.locator("#days tbody tr")
    expect(days).to_have_count(len(stored))
    for k, expected in enumerate(stored.itertuples()):
        text = days.nth(k).locator("td").nth(0).inner_text()
        assert text == (f"{round(expected.point):,}" if expected.open else "closed")
    expect(days.nth(0).locator("th")).to_have_text("Sun 14 Jun")
    expect(page.locator("#chart canvas")).to_be_visible()
    opened = stored[stored["open"] == 1].iloc[0]
    chart = page.locator("#chart")
    chart.focus()
    readout = page.locator("#readout")
    for _ in range(int(stored.index[stored["open"] == 1][0])):
        page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text(f"forecast {round(opened.point):,}, 80 % range")
    page.keyboard.press("Home")
    expect(readout).to_contain_text("Sun 19 Apr: closed")
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text(re.compile(r"Mon 20 Apr: sales \d"))
    expect(page.get_by_role("main")).to_contain_text("off by")


def test_past_forecasts_are_laid_over_what_was_sold(page: Page, service: Service) -> None:
    stored = service.frame(
        "SELECT point FROM sales.forecasts_issued WHERE store = 2 AND date = '2015-06-13' "
        "AND origin = '2015-06-12' ORDER BY written_at DESC LIMIT 1"
    )
    page.goto(f"{STORE}?weeks=2&lead=1")
    page.get_by_text("Show 14 days of sales").click()
    newest = page.get_by_role("region", name="Sales by day").locator("tbody tr").first
    expect(newest.locator("th")).to_have_text("Sat 13 Jun")
    expect(newest.locator("td").nth(1)).to_have_text(f"{round(stored['point'][0]):,}")
    page.get_by_role("link", name="28 days before").click()
    page.get_by_text("Show 14 days of sales").click()
    expect(newest.locator("td").nth(1)).to_have_text("")


def test_numbers_follow_the_browsers_locale(browser: Browser, service: Service) -> None:
    with signed_in(browser, service, locale="de-DE") as page:
        page.goto(STORE)
        first = page.locator("#days tbody strong").first
        expect(first).to_have_text(re.compile(r"^\d{1,3}\.\d{3}$"))
        expect(page.locator("#days tbody th").first).to_contain_text("14. Juni")
        page.goto(f"{STORE}/changes")
        expect(page.locator("#changes-content > p").last).to_have_text(
            re.compile(r"add up to [\d.]+ (more|less) \(\d+,\d %\)|Nothing has changed")
        )
        page.goto("/chain")
        expect(page.get_by_role("main")).to_contain_text(re.compile(r"with sales: \d+,\d % lay"))
        sentence = "9,000 a day, 10.4 % of 1,234.5, at 14:30 by v1.2 on 2015-06-19, 80 %."
        written = page.evaluate(
            "async (text) => (await import('/static/locale.js')).sentence(text)", sentence
        )
        assert written == "9.000 a day, 10,4 % of 1.234,5, at 14:30 by v1.2 on 2015-06-19, 80 %."


def pixels(page: Page, *colours: str) -> list[int]:
    """Count the pixels of the chart that have each of some colours of the style sheet.

    Once for a page: Chromium warns of a canvas that is read again.
    """
    counts = page.evaluate(
        """(names) => {
          const style = getComputedStyle(document.documentElement);
          const canvas = document.querySelector('#chart canvas');
          const { width, height } = canvas;
          const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
          return names.map((name) => {
            const hex = style.getPropertyValue(name).trim();
            const wanted = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
            let count = 0;
            for (let k = 0; k < data.length; k += 4) {
              const isNear = wanted.every((value, c) => Math.abs(value - data[k + c]) < 9);
              if (data[k + 3] > 250 && isNear) count += 1;
            }
            return count;
          });
        }""",
        colours,
    )
    return [int(count) for count in counts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_tells_apart_what_it_draws(
    browser: Browser, service: Service, scheme: str
) -> None:
    with signed_in(browser, service, color_scheme=scheme) as page:
        page.goto(f"{STORE}?lead=1")
        legend = page.locator(".legend")
        for name in ("forecast 1 day before", "closed", "public holiday"):
            expect(legend).to_contain_text(name)
        expect(page.locator("#chart canvas")).to_be_visible()
        closed, holidays, earlier = pixels(page, "--closed", "--holiday", "--earlier")
        assert closed > 500
        assert holidays > 20, "Whit Monday of 2015 was 25 May"
        holiday = page.evaluate(
            "JSON.parse(document.querySelector('#data').textContent).past"
            ".filter((day) => day.holiday).map((day) => day.date)"
        )
        assert "2015-05-25" in holiday
        page.goto(f"{STORE}?lead=28")
        expect(page.locator("#chart canvas")).to_be_visible()
        assert pixels(page, "--earlier")[0] < earlier


def test_days_of_other_years_have_their_year(page: Page) -> None:
    page.goto(f"{STORE}?weeks=30")
    page.get_by_text("Show 210 days of sales").click()
    oldest = page.get_by_role("region", name="Sales by day").locator("tbody th").last
    expect(oldest).to_have_text(re.compile(r"Sun,? 16 Nov 2014"))
    expect(page.locator("#days tbody th").first).to_have_text("Sun 14 Jun")


def test_paper_has_no_buttons_downloads_or_closed_parts(page: Page) -> None:
    page.goto(STORE)
    page.emulate_media(media="print")
    for name in ("CSV", "Excel"):
        for link in page.get_by_role("link", name=name, include_hidden=True).all():
            expect(link).to_be_hidden()
    for control in page.locator("button, .button, details:not([open])").all():
        expect(control).to_be_hidden()
    expect(page.locator("#days")).to_be_visible()


def test_why_and_what_changed_add_up(page: Page) -> None:
    page.goto(STORE)
    changes = page.locator("#changes")
    expect(changes).to_contain_text("forecast of Fri 12 Jun")
    row(page, "2015-06-15").get_by_role("link").click()
    why = page.locator("#why")
    expect(why.get_by_role("heading")).to_contain_text("Mon 15 Jun")
    cells = why.locator("tbody tr td:nth-child(2)")
    numbers = [float(cell.get_attribute("data-number") or "nan") for cell in cells.all()[:-1]]
    shown = row(page, "2015-06-15").locator("strong").get_attribute("data-number")
    assert sum(numbers) == pytest.approx(float(shown or "nan"))
    changes.get_by_role("link", name="Within four weeks").click()
    expect(changes).to_contain_text("no forecast from 28 days or more before the one in force")


def test_a_what_if_is_shown_at_once_and_its_link_opens_it_again(page: Page) -> None:
    page.goto(STORE)
    expect(page.get_by_role("button", name="Adopt this plan")).to_be_disabled()
    page.get_by_label("Open, Mon 15 Jun").uncheck()
    said = page.locator("#scenario-said")
    expect(said).to_contain_text("80\u00a0% range")
    expect(row(page, "2015-06-15").locator("[data-what-if]")).to_have_text("closed")
    page.get_by_label("Public holiday, Wed 17 Jun").select_option("c")
    expect(page.locator("#scenario-unseen")).to_contain_text("Wed 17 Jun: this store has never")
    assert "plan=2015-06-15.open.0&plan=2015-06-17.state_holiday.c" in page.url
    words = said.inner_text()
    page.goto(page.url)
    expect(said).to_have_text(words)
    page.get_by_role("link", name="14 days before").click()
    page.wait_for_url("**lead=14**")
    expect(said).to_have_text(words)
    expect(page.get_by_label("Open, Mon 15 Jun")).not_to_be_checked()
    page.get_by_role("button", name="Discard").click()
    expect(said).to_contain_text("What if?")
    expect(page.get_by_label("Open, Mon 15 Jun")).to_be_checked()
    assert "plan=" not in page.url
    expect(said).to_be_focused()
    expect(said).to_contain_text("Your changes are discarded")


def test_a_link_says_which_of_its_changes_count_for_nothing(page: Page) -> None:
    left_out = page.locator("#scenario-left-out")
    past = "plan=2015-06-01.open.0&plan=2015-06-02.promo.1"
    page.goto(f"{STORE}?{past}&plan=2015-06-15.price.3&plan=2019-01-01.open.0&plan=x")
    expect(page.locator("#scenario-said")).to_contain_text("What if?")
    expect(left_out).to_have_text(
        "2 changes of this link are for days that are past and were left out. 1 change of this "
        "link is for a day without a forecast and was left out. 2 changes of this link were not "
        "understood and were left out."
    )
    page.goto(f"{STORE}?plan=2015-06-15.open.0&plan=2015-06-16.open.1")
    expect(page.locator("#scenario-said")).to_contain_text("Under this plan")
    expect(left_out).to_have_text("1 change of this link is what is planned anyway.")
    page.get_by_role("button", name="Discard").click()
    expect(left_out).to_have_text("")


def test_an_adopted_plan_is_sent_once_and_followed(page: Page, service: Service) -> None:
    service.sent.clear()
    page.goto(f"{STORE}?plan=2015-06-16.school_holiday.1")
    button = page.get_by_role("button", name="Adopt this plan")
    expect(button).to_be_enabled()
    button.dblclick()
    expect(page.locator("#job-said")).to_contain_text("queued. The stream has stored 0 of 1 days")
    assert len(service.sent) == 1
    (event,) = service.sent[0].to_dict("records")
    assert (event["Store"], event["SchoolHoliday"]) == (2, 1)
    page.reload()
    expect(page.locator("#job-said")).to_contain_text("queued. The stream has stored 0 of 1 days")


def test_a_planner_adjusts_comments_and_withdraws(page: Page) -> None:
    page.goto(STORE)
    form = page.locator("#adjust")
    form.get_by_label("From").fill("2015-06-18")
    form.get_by_label("Set").select_option("value")
    form.get_by_label("Number").fill("-5")
    form.get_by_role("button").click()
    assert page.evaluate("document.querySelector('#adjust-reason').validity.valueMissing")
    form.get_by_label("Reason").select_option("event")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_have_text("Number must be 0 or more.")
    expect(form.get_by_label("Number")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("to", exact=True).fill("2015-06-17")
    form.get_by_label("Number").fill("4321")
    form.get_by_role("button").click()
    expect(form.get_by_role("alert")).to_contain_text("to must be empty, or the first day or")
    form.get_by_label("to", exact=True).fill("")
    form.get_by_label("Valid until").fill("2126-06-18")
    form.get_by_role("button").click()
    said = page.locator("#notes-said")
    expect(said).to_contain_text("Your adjustment is stored")
    expect(said).to_be_focused()
    every = page.get_by_role("region", name="Every adjustment")
    expect(every).to_contain_text(re.compile(r"in force until 18 Jun 2126"))
    expect(row(page, "2015-06-18")).to_contain_text("4,321")
    expect(row(page, "2015-06-18")).to_contain_text("adjusted by everything: event")
    comment = page.locator("#comment")
    day = comment.get_by_label("Day")
    expect(day).to_have_attribute("min", "2015-04-19")
    expect(day).to_have_attribute("max", "2015-07-25")
    day.fill("2015-06-18")
    comment.get_by_label("Comment").fill("<b>street works</b>")
    comment.get_by_role("button").click()
    expect(said).to_contain_text("Your comment is stored")
    expect(said).to_be_focused()
    expect(row(page, "2015-06-18")).to_contain_text("everything: <b>street works</b>")
    page.get_by_role("button", name="Withdraw the adjustment").click()
    expect(said).to_contain_text("The adjustment is withdrawn")
    expect(said).to_be_focused()
    expect(every).to_contain_text("withdrawn")
    expect(row(page, "2015-06-18")).not_to_contain_text("4,321")


def test_what_was_typed_outlives_the_session(page: Page, service: Service) -> None:
    page.goto(STORE)
    expect(page.locator("#changes")).to_contain_text("forecast of")
    comment = page.locator("#comment")
    comment.get_by_label("Day").fill("2015-06-21")
    comment.get_by_label("Comment").fill("typed before the session ended")
    page.context.clear_cookies()
    comment.get_by_role("button").click()
    problem = comment.get_by_role("alert")
    expect(problem).to_contain_text("Your session has ended.")
    expect(comment.get_by_label("Comment")).to_have_value("typed before the session ended")
    page.locator("#changes").get_by_role("link", name="Within a week").click()
    expect(page.locator("#changes")).to_contain_text("Your session has ended.")
    with page.context.expect_page() as opened:
        problem.get_by_role("link", name="Sign in in a new tab").click()
    tab = opened.value
    tab.get_by_label("Access token").fill(service.tokens["everything"])
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url(f"**{STORE}")
    comment.get_by_role("button").click()
    expect(page.locator("#notes-said")).to_contain_text("Your comment is stored")
    expect(row(page, "2015-06-21")).to_contain_text("typed before the session ended")


def test_the_page_says_how_good_its_forecasts_have_been(page: Page, service: Service) -> None:
    with service.client() as client:
        report = client.get("/v1/accuracy?store=2").raise_for_status().json()
    weeks, kind = report["items"], report["kind"]
    page.goto(STORE)
    rows = page.locator("#judged tbody tr")
    expect(rows).to_have_count(len(weeks))
    assert weeks
    for k, week in enumerate(weeks):
        last = 7 * week["lead_week"]
        expect(rows.nth(k)).to_contain_text(f"{last - 6} to {last} days ahead")
        judged = service.frame(
            "SELECT count(DISTINCT date) AS days, sum(sold)::int AS forecasts "
            "FROM sales.forecast_accuracy WHERE store = 2 AND sold > 0 "
            f"AND kind = '{kind}' AND lead_week = {week['lead_week']} "
            f"AND date BETWEEN '{report['first_day']}' AND '{report['last_day']}'"
        )
        cells = rows.nth(k).locator("td")
        expect(cells.nth(0)).to_have_text(str(judged["days"][0]))
        expect(cells.nth(1)).to_have_text(str(judged["forecasts"][0]))
        expect(cells.nth(2)).to_have_text(f"{100 * week['wape']:.1f} %")
        expect(cells.nth(4)).to_have_text(f"{100 * week['coverage_80']:.1f} %")
        widths = rows.nth(k).locator("rect")
        assert widths.count() == 2 - (week["naive_wape"] is None)


def test_a_workbook_can_be_downloaded(page: Page) -> None:
    page.goto(STORE)
    with page.expect_download() as started:
        page.locator("section", has=page.locator("#days")).get_by_role("link", name="Excel").click()
    sheet = openpyxl.load_workbook(io.BytesIO(started.value.path().read_bytes())).active
    days = page.locator("#days tbody tr").count()
    assert sheet.max_row == 1 + days
    assert sheet["A2"].value == 2


def test_nothing_can_be_pressed_before_the_page_listens(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/static/store.js", hold)
    page.goto(STORE, wait_until="commit")
    controls = page.locator("#main").locator("button, input, select")
    expect(page.get_by_role("button", name="Retrain the model")).to_be_visible()
    for k in range(controls.count()):
        expect(controls.nth(k)).to_be_disabled()
    for waiting in held:
        waiting.continue_()
    comment = page.locator("#comment")
    comment.get_by_label("Day").fill("2015-06-20")
    comment.get_by_label("Comment").fill("written early")
    page.keyboard.press("Enter")
    expect(row(page, "2015-06-20")).to_contain_text("everything: written early")
    assert page.url.endswith(STORE)


@pytest.mark.parametrize("ends", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_retraining_is_followed_to_its_true_end(page: Page, service: Service, ends: str) -> None:
    page.goto(STORE)
    service.dagster.runs.clear()
    page.get_by_role("button", name="Retrain the model").click()
    said = page.locator("#job-said")
    expect(said).to_contain_text("The retraining: queued")
    (run,) = service.dagster.runs
    run["status"] = "STARTED"
    expect(said).to_contain_text("The retraining: running")
    run["status"] = ends
    words = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "cancelled"}[ends]
    expect(said).to_contain_text(f"The retraining: {words}")
    with service.client() as client:
        days = client.get("/v1/forecasts?store=2&limit=100").raise_for_status().json()["items"]
    total = f"{round(sum(day['mean'] for day in days)):,}"
    expect(page.locator("#job-numbers")).to_contain_text(
        f"Expected sales before {total}, after {total}"
    )
    expect(said).to_have_class(re.compile("good" if ends == "SUCCESS" else "bad"))


def test_a_reader_sees_no_button_that_is_not_for_readers(
    browser: Browser, service: Service
) -> None:
    with signed_in(browser, service, "reader") as page:
        page.goto(f"{STORE}?plan=2015-06-16.open.0")
        expect(page.locator("#scenario-said")).to_contain_text("Under this plan")
        expect(page.get_by_role("button", name="Adopt this plan")).to_be_disabled()
        for name in ("Adjust", "Retrain the model", "Refresh this store"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_a_page_says_when_dagster_is_away(page: Page, service: Service) -> None:
    service.dagster.away = True
    try:
        page.goto(STORE)
        expect(page.get_by_role("status", name="What is wrong")).to_contain_text(
            "Dagster, which refreshes and retrains, does not answer"
        )
        page.get_by_role("button", name="Refresh this store").click()
        expect(page.locator("#job-said")).to_contain_text("Dagster does not answer")
    finally:
        service.dagster.away = False


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESK, "light"), (PHONE, "dark")], ids=["desk-light", "phone-dark"]
)
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?reason=missing_day",
        "/chain",
        "/chain?grain=day&by=assortment",
        "/stores",
        f"{STORE}?plan=2015-06-16.open.0",
        f"{STORE}/why",
        f"{STORE}/changes",
        "/stores/99",
    ],
)
def test_everybody_can_use_the_pages(
    browser: Browser, service: Service, path: str, viewport: dict[str, int], scheme: str
) -> None:
    with signed_in(browser, service, viewport=viewport, color_scheme=scheme) as page:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        wide = "document.documentElement.scrollWidth - innerWidth"
        assert page.evaluate(wide) <= 0, "the page scrolls sideways"
        small = page.evaluate(SMALL_TARGETS)
        assert small == [], "these targets are smaller than 24 pixels"
