"""A report as Markdown and as HTML."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.page import Heading, Picture, Table, Text, to_html, to_markdown

pytestmark = pytest.mark.unit

TABLE = Table(
    ("row", "figure"), [("a|b", "1 < 2"), ("c", "3\n4")], frozenset({1}), ["met", "missed"]
)


def test_markdown_has_a_line_for_each_row_and_figures_on_the_right() -> None:
    page = to_markdown("Title", [Heading("Part"), Text("Words."), TABLE])

    assert page.splitlines() == [
        "# Title",
        "",
        "## Part",
        "",
        "Words.",
        "",
        "| row | figure |",
        "| --- | --: |",
        "| a\\|b | 1 < 2 |",
        "| c | 3<br>4 |",
    ]


def test_html_escapes_what_cells_say_and_marks_rows() -> None:
    page = to_html("A & B", [TABLE])

    assert "<h1>A &amp; B</h1>" in page
    assert '<tr class="met"><td>a|b</td><td class="right">1 &lt; 2</td></tr>' in page
    assert '<tr class="missed"><td>c</td><td class="right">3<br>4</td></tr>' in page


def test_pictures_are_files_in_markdown_and_bytes_in_html(tmp_path: Path) -> None:
    path = tmp_path / "bars.png"
    path.write_bytes(b"\x89PNG")
    picture = Picture(path, "Bars")

    assert "![Bars](bars.png)" in to_markdown("T", [picture])
    assert 'src="data:image/png;base64,iVBORw==" alt="Bars"' in to_html("T", [picture])
