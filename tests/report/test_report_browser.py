"""Reports in a real browser: what it shows, complains of and asks for."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Reader
from many_files import large_run
from picture_runs import full_run
from PIL import Image

from edgenext.report import write_comparison, write_report

MEBIBYTE = 2**20

CONTRAST = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const worst = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    if (["SCRIPT", "STYLE"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [luminance(parse(ink)), luminance(background(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = `${element.tagName}.${element.className.baseVal ?? element.className} ${ink}`;
    if (!(ratio >= worst.ratio)) Object.assign(worst, { ratio, name });
  }
  return worst;
}
"""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section."""
    run_dir, _ = full_run(tmp_path_factory.mktemp("browser"))
    return write_report(run_dir)[0]


def pixels(element: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"))


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")


def test_every_plot_and_picture_is_drawn(report: Path, reader: Reader) -> None:
    page = reader.open(report)
    plots = page.query_selector_all("figure svg")
    assert len(plots) == 4
    for plot in plots:
        image = pixels(plot)
        assert image.std() > 5
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 30
    unfold(page)
    sizes = page.eval_on_selector_all(".gallery img", "all => all.map((i) => i.naturalWidth)")
    assert len(sizes) > 12 and set(sizes) == {96}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_can_be_read(report: Path, reader: Reader, dark: bool) -> None:
    page = reader.open(report, dark=dark)
    unfold(page)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    worst = page.evaluate(CONTRAST)
    # WCAG 2.2, level AA, for text of normal size
    assert worst["ratio"] >= 4.5, worst


def test_a_phone_shows_every_column(report: Path, reader: Reader) -> None:
    page = reader.open(report, width=375)
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    outside = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((e) => e.getBoundingClientRect().right > 376 && !e.closest(".scroll, pre, svg"))
          .map((e) => e.tagName)"""
    )
    assert outside == []
    wide = page.eval_on_selector_all(
        ".scroll", "all => all.filter((b) => b.scrollWidth > b.clientWidth).length"
    )
    assert wide, "what is wider than a phone scrolls in a box of its own"
    shown = page.evaluate(
        """() => [...document.querySelectorAll(".scroll")].every((box) => {
          box.scrollLeft = box.scrollWidth;
          const last = box.querySelector("tr").lastElementChild.getBoundingClientRect();
          return last.right <= box.getBoundingClientRect().right + 1;
        })"""
    )
    assert shown


def test_keys_alone_sort_a_table_and_open_what_is_folded(report: Path, reader: Reader) -> None:
    page = reader.open(report)
    section = page.locator("section", has=page.get_by_role("heading", name="ranges cut off"))
    summary = section.locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    assert section.locator("details").get_attribute("open") is not None
    for _ in range(5):  # the filter, the table's box, which scrolls, and three columns
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Values cut off, %"
    column = "tbody tr td:nth-child(3)"
    before = section.locator(column).all_text_contents()
    page.keyboard.press("Enter")
    rising = section.locator(column).all_text_contents()
    assert [float(x) for x in rising] == sorted(map(float, before)) != [float(x) for x in before]
    page.keyboard.press("Enter")
    assert section.locator(column).all_text_contents() == rising[::-1]
    sorted_by = section.locator("th[aria-sort]")
    assert sorted_by.get_attribute("aria-sort") == "descending"


def test_rows_can_be_filtered(report: Path, reader: Reader) -> None:
    page = reader.open(report)
    unfold(page)
    section = page.locator("section", has=page.get_by_role("heading", name="ranges cut off"))
    assert section.locator("tbody tr:visible").count() == 10
    section.get_by_role("searchbox").fill("stages.13")
    assert section.locator("tbody tr:visible").all_text_contents()[0].startswith("stages.13")
    assert section.locator("tbody tr:visible").count() == 1
    assert section.locator("output").text_content() == "1 of 10"
    section.get_by_role("searchbox").fill("")
    assert section.locator("tbody tr:visible").count() == 10


def test_a_print_has_everything_and_no_controls(report: Path, reader: Reader) -> None:
    page = reader.open(report)
    page.emulate_media(media="print")
    assert not page.get_by_role("searchbox").first.is_visible()
    for text in ("McNemar’s p", "Per class", "sha256"):
        assert page.get_by_text(text, exact=True).first.is_visible(), text
    contents = page.pdf(format="A4")
    assert contents.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", contents)) >= 3


def test_the_page_says_the_same_without_its_script(report: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("h2", has_text="Which answers changed").is_visible()
    assert page.locator("table").first.is_visible()
    assert page.get_by_role("searchbox").count() == 0
    context.close()


def test_runs_side_by_side_fit_every_screen(report: Path, reader: Reader, tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path, model="another")
    pages = [report, write_report(run_dir)[0]]
    path = write_comparison([report.parent, run_dir], pages, tmp_path)
    page = reader.open(path)
    assert page.locator("h2").all_text_contents() == [
        "What each run decided", "Every file on every device",
    ]  # fmt: skip
    assert page.locator("section").last.locator("tbody tr").count() == 6
    assert pixels(page.locator("figure svg")).std() > 5
    assert page.evaluate(CONTRAST)["ratio"] >= 4.5
    page.get_by_role("link", name="run").last.click()
    assert page.locator("h1").text_content() == "another"
    page = reader.open(path, width=375)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_hundred_files_and_thousands_of_changed_answers(tmp_path: Path, reader: Reader) -> None:
    run_dir, changed = large_run(tmp_path)
    assert changed >= 5000
    html = write_report(run_dir)[0]
    assert html.stat().st_size < 5 * MEBIBYTE
    page = reader.open(html)
    assert page.locator("section", has_text="All files").locator("tbody tr").count() >= 100
    assert page.locator(".gallery li").count() == 48
    assert f"{changed:,}" in page.locator(".changed").text_content()
    assert len((run_dir / "changed.csv").read_text("utf-8").splitlines()) == changed + 1
