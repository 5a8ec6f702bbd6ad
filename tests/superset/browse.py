"""Look at Superset with a real browser: a query in SQL Lab, a chart. Run by test_superset with Superset's own python.

Arguments: chromium, Superset's address, user, password, the chart's id, the query, a directory for the screenshots.
"""

# mypy: ignore-errors
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_PATIENCE_MS = 120_000


def main(chromium: str, url: str, user: str, password: str, chart: str, query: str, directory: str) -> None:
    """Log in, run the query in SQL Lab, open the chart."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 800})
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{url}/login/")
        page.fill("input[name=username], #username", user)
        page.fill("input[name=password], #password", password)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda found: "login" not in found)
        ask(page, url, query)
        page.screenshot(path=str(Path(directory) / "superset-sql-lab.png"))
        print(page.inner_text("body"))
        page.goto(f"{url}/explore/?slice_id={chart}")
        page.wait_for_selector(".echarts canvas, [data-test='slice-container'] canvas, .chart-container canvas")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=str(Path(directory) / "superset-chart.png"))
        browser.close()


def ask(page, url: str, query: str) -> None:
    """Type a query into SQL Lab and wait for its rows."""
    page.goto(f"{url}/sqllab/?dbid=1&new=true")
    page.wait_for_selector(".ace_editor")
    page.click(".ace_content")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(query)
    page.wait_for_function("() => !document.querySelector('button[disabled]')?.innerText.includes('Run')")
    page.click("button:has-text('Run')")
    page.wait_for_selector("text=/^7 rows$/")
    page.mouse.move(5, 5)
    page.wait_for_load_state("networkidle")


main(*sys.argv[1:])
