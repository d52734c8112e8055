"""The worklist's and the chain's pages in a browser, on real forecasts."""

from __future__ import annotations

import re

import psycopg
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import signed_in
from tests.support.service import Service


def remove_days(service: Service, stores: str) -> None:
    """Lose a day's sales of some stores, and say that a refresh has been since."""
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
        owner.execute(
            f"DELETE FROM sales.cleaned_sales WHERE store IN ({stores}) "
            "AND date = '2015-06-11'".encode()
        )
        owner.execute(b"UPDATE sales.refreshes SET finished_at = now()")


def test_the_first_page_leads_to_the_store_that_needs_somebody(
    page: Page, service: Service
) -> None:
    remove_days(service, "2, 5")
    with service.client() as client:
        answer = client.get("/v1/worklist?reason=missing_day").raise_for_status().json()
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Worklist")
    page.get_by_role("navigation", name="Reasons").get_by_role("link", name="Day missing").click()
    page.wait_for_url("**/?reason=missing_day")
    rows = page.locator("table.work tbody tr")
    expect(rows).to_have_count(2)
    for k, item in enumerate(answer["items"]):
        cells = rows.nth(k).locator("td")
        expect(cells.nth(0)).to_have_text(str(item["rank"]))
        expect(rows.nth(k)).to_contain_text("Sales of Thu 11 Jun have not come")
        expect(cells.nth(2)).to_have_text(f"{round(item['sales_in_question']):,}")
        expect(cells.nth(3)).to_have_text(f"{round(item['sales_at_stake']):,}")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = download.value.path().read_text()
    assert text.count("missing_day") == 2
    first = answer["items"][0]["store"]
    page.get_by_role("link", name=f"Store {first}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Store {first}")


def test_the_worklist_follows_the_browsers_locale(browser: Browser, service: Service) -> None:
    remove_days(service, "2, 5")
    with signed_in(browser, service, locale="de-DE") as page:
        page.goto("/")
        number = page.locator("table.work tbody tr td").nth(3)
        expect(number).to_have_text(re.compile(r"^\d{2,3}\.\d{3}$"))


def test_the_chains_table_and_chart_show_the_totals_in_force(page: Page, service: Service) -> None:
    with service.client() as client:
        weeks = client.get("/v1/totals").raise_for_status().json()["items"]
        types = client.get("/v1/totals?level=store_type").raise_for_status().json()["items"]
    page.goto("/chain")
    rows = page.locator("#totals tbody tr")
    expect(rows).to_have_count(len(weeks))
    for k, week in enumerate(weeks):
        cells = rows.nth(k).locator("td")
        expect(cells.nth(0)).to_have_text(f"{round(week['mean']):,}")
        expect(cells.nth(1)).to_have_text(f"{round(week['q0_1']):,}–{round(week['q0_9']):,}")
    expect(page.get_by_role("region", name="Totals by group")).to_contain_text(
        f"{round(types[-2]['mean']):,}"
    )
    chart = page.locator("#chart")
    expect(chart.locator("canvas")).to_be_visible()
    chart.focus()
    # The week that the origin cuts to a Sunday is not drawn.
    expect(page.locator("#readout")).to_contain_text(
        f"Mon 15 Jun – Sun 21 Jun: expected {round(weeks[1]['mean']):,}"
    )
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text(f"expected {round(weeks[2]['mean']):,}")
    page.get_by_role("link", name="Days").click()
    page.wait_for_url("**/chain?grain=day&by=store_type")
    expect(page.locator("#totals tbody tr")).to_have_count(42)
    page.get_by_role("link", name="Assortment").click()
    page.wait_for_url("**/chain?grain=day&by=assortment")


def test_the_chain_says_whether_ranges_held_and_what_changed(page: Page, service: Service) -> None:
    page.goto("/chain")
    main = page.get_by_role("main")
    expect(main).to_contain_text("over 1 day, which is too few to judge")
    expect(main).to_contain_text("No forecast is a week older than the current ones yet.")
    # An issue of a week before that says the same, but of store 4 half as much.
    earlier = """
        INSERT INTO sales.forecasts_issued
        SELECT (jsonb_populate_record(f, jsonb_build_object(
            'origin', f.origin - 7, 'date', f.date - back, 'horizon', f.horizon + 7 - back,
            'mean', f.mean * CASE WHEN f.store = 4 THEN 0.5 ELSE 0.99 END,
            'refresh_id', 'a week ago'))).*
        FROM sales.current_forecasts f, (VALUES (0), (7)) AS b (back)
        WHERE f.horizon + 7 - back IN (1, f.horizon + 7) AND f.horizon + 7 - back <= 42
    """
    with psycopg.connect(service.urls["OWNER_DATABASE_URL"]) as owner:
        owner.execute(earlier.encode())
    page.goto("/chain")
    first = page.get_by_role("table").nth(2).locator("tbody tr").first
    expect(first.get_by_role("rowheader")).to_have_text("Store 4")
    expect(first.locator("td").nth(3)).to_have_text("+100.0 %")
    expect(first.locator("td").nth(4)).to_have_text("Sat 6 Jun")
