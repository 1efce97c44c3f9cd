"""What a paper asks of a picture: its exact width, and no drawn text too small or across the edge."""

from dataclasses import replace
from unittest import mock

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

from util import figures


def at_width(record, width):
    """A record as a run with ``--width`` makes it, to draw from."""
    return replace(record, about={**record.about, "settings": {**record.about["settings"], "width": width}})


def printable(figure, width):
    """Asserts that a figure is as wide as its --width says and that every text drawn can be read; closes it."""
    texts = []
    with mock.patch.object(Text, "draw", lambda text, _: texts.append(text)):
        figure.canvas.draw()
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    assert figure.get_size_inches()[0] == pytest.approx(figures.WIDTHS[width])
    assert texts and not {t.get_text(): t.get_fontsize() for t in texts if t.get_fontsize() < figures.LEAST_POINTS}
    page, boxes = figure.bbox.padded(1), {t.get_text(): t.get_window_extent() for t in texts}
    assert not [text for text, box in boxes.items() if box.x0 < page.x0 or box.x1 > page.x1 or box.y1 > page.y1]
    plt.close(figure)
