"""Scripts run at their smoke preset once for all test processes, their pictures, and what they say of an error."""

import os
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import matplotlib.pyplot as plt
import pytest
from filelock import FileLock
from matplotlib.text import Text

from util import cli, figures


def shared(tmp_path_factory):
    """A folder that all processes of one run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def cache(tmp_path_factory):
    """A cache folder for embeddings over seeds."""
    return shared(tmp_path_factory) / "cone_cache"


def record(script, tmp_path_factory):
    """The record of a script's smoke preset; whoever asks first makes it."""
    folder = shared(tmp_path_factory)
    settings = replace(script.PRESETS["smoke"], output=folder / "smoke")
    with FileLock(folder / f"{script.NAME}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODALITY_GAP_DATA", str(cache(tmp_path_factory)))
        patch.setattr("training_runs.DIGITS", 50)  # training.py classifies all of them three times a run
        return script.run(settings, reuse=True)


def parsed(script, *words):
    """The settings of the smoke preset with further words of a command line."""
    return cli.parse(script.PRESETS, "", ["--preset", "smoke", *map(str, words)])


def run(script, folder, *words):
    """The record of a smoke run with further words."""
    return script.run(parsed(script, "--output", folder, *words))


def measured(script, *words):
    """What a smoke run with further words measures, neither recorded nor drawn."""
    return script.measure(parsed(script, *words), "cpu")


@contextmanager
def undrawn():
    """Scripts run without their pictures, which the smoke runs draw."""
    publish = cli.publish_run
    with mock.patch.object(cli, "publish_run", lambda *told, **more: publish(*told[:3], {}, **more)):
        yield


def refuses(script, *cases, prepare=lambda folder: None):
    """A test for each (words, said): a command line with ``{tmp}`` for the test's folder, and what is said of it.

    ``prepare`` puts files into the folder.
    """

    @pytest.mark.parametrize("words, said", cases)
    def test(tmp_path, capsys, words, said):
        prepare(tmp_path)
        words = words.split() if isinstance(words, str) else words
        assert said in refusal(script, [word.format(tmp=tmp_path) for word in words], tmp_path / "out", capsys)

    return test


def refusal(script, words, output, capsys):
    """The one line that a script says of a user's error, with exit code 2 and without a file."""
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: run(script, output, *words))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert ended.value.code == 2 and not output.exists()
    return line


def at_width(record, width):
    """A record as a run with ``--width`` makes it, to draw from."""
    return replace(record, about={**record.about, "settings": {**record.about["settings"], "width": width}})


def printable(figure, width):
    """Asserts what a paper asks: the exact width, and no drawn text too small or across the edge; closes the figure."""
    texts = []
    with mock.patch.object(Text, "draw", lambda text, _: texts.append(text)):
        figure.canvas.draw()
    texts = [text for text in texts if text.get_visible() and text.get_text().strip()]
    assert figure.get_size_inches()[0] == pytest.approx(figures.WIDTHS[width])
    assert texts and not {t.get_text(): t.get_fontsize() for t in texts if t.get_fontsize() < figures.LEAST_POINTS}
    page, boxes = figure.bbox.padded(1), {t.get_text(): t.get_window_extent() for t in texts}
    assert not [text for text, box in boxes.items() if box.x0 < page.x0 or box.x1 > page.x1 or box.y1 > page.y1]
    plt.close(figure)
