"""How figures and tables are saved."""

import pandas as pd

from util import figures


def test_a_table_is_saved_as_html_with_its_words_escaped(tmp_path):
    table = pd.DataFrame({"data_set & co": ["<b>", "5%"], "p": [0.123, 2]})
    styled = table.style.format({"p": "{:.2f}"}, escape="html").format_index(escape="html", axis=1).hide(axis="index")
    (file,) = figures.save(styled, tmp_path, "table")
    html = file.read_text()
    assert file.name == "table.html" and html.startswith("<style")
    assert "&lt;b&gt;" in html and "data_set &amp; co" in html and "2.00" in html
    assert figures.save(styled, tmp_path, "table")[0].read_text() == html, "the same table is the same file"
