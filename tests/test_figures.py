"""How figures and tables are saved."""

import pandas as pd

from util import figures


def test_a_table_is_saved_as_html_and_latex_with_its_words_escaped(tmp_path):
    table = pd.DataFrame({"data_set & co": ["<b>", "5%"], "p": [0.123, 2]})
    styled = table.style.format({"p": "{:.2f}"}, escape="html").format_index(escape="html", axis=1).hide(axis="index")
    files = figures.save(styled, tmp_path, "table")
    html, latex = (path.read_text() for path in files)
    assert [path.name for path in files] == ["table.html", "table.tex"]
    assert html.startswith("<style") and "&lt;b&gt;" in html and "data_set &amp; co" in html
    assert r"data\_set \& co & p" in latex and r"5\% & 2.00" in latex and "<b> & 0.12" in latex
    assert figures.save(styled, tmp_path, "table")[0].read_text() == html, "the same table is the same file"
