"""One look for every figure: style, colours, and how a figure or table is saved."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas.io.formats.style import Styler

    from .records import Record

NON_TEXT = "#0072B2"
"""Images, and whatever stands in their place: blue of the colour-blind safe palette of Okabe and Ito."""
TEXT = "#D55E00"
"""Texts: vermilion of the same palette."""
SERIES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#D55E00")
"""Further series, in order of use."""
INK, MUTED, GRID = "#222222", "#6b6b6b", "#e4e4e4"
WIDTHS = {"column": 3.35, "page": 6.9}
"""Inches across one column, and across the page, of a paper in two columns."""
LEAST_POINTS = 6
"""Smallest text at that width."""
EMBEDDED_NOTE = "embedded preset: a small model on generated data; it shows the phenomenon, not the paper's numbers"
STYLE = Path(__file__).resolve().parent / "data" / "figures.mplstyle"


def use_style() -> None:
    """Sets the style for this process."""
    from matplotlib import style

    style.use(STYLE)


def width(record: "Record") -> float:
    """Inches that a record's pictures are drawn across: its setting ``width``, the page where it has none."""
    return WIDTHS[record.about["settings"].get("width", "page")]


def panel_title(axes: "Axes", letter: str, title: str) -> None:
    """A bold panel letter and its title, flush left, as in the paper."""
    axes.set_title(f"$\\bf{{({letter})}}$ {title}", loc="left")


def plain(name: str) -> str:
    """A name as a label: no mathematics, and not left out of a legend for a leading underscore."""
    return f" {name}".replace("$", r"\$") if name.startswith("_") else name.replace("$", r"\$")


def shown(figure: "Figure"):
    """A figure for a notebook's output: a PNG of 128 colours, a third of the usual size; closes the figure."""
    import matplotlib.pyplot as plt
    from IPython.display import Image as Shown
    from PIL import Image

    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=110)
    plt.close(figure)
    Image.open(full).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return Shown(small.getvalue())


def save(picture: "Figure | Styler", folder: Path, name: str) -> None:
    """Writes a figure or a table without dates, so that the same content is the same file.

    A matplotlib figure becomes ``name.png`` and ``name.pdf``, and is closed. A pandas Styler becomes ``name.html``, a
    fragment, with ``escape="html"`` in the ``format`` of its cells and the ``format_index`` of its headers.
    """
    if not hasattr(picture, "savefig"):
        (folder / f"{name}.html").write_text(picture.to_html(table_uuid=name), encoding="utf-8")
        return
    import matplotlib.pyplot as plt

    picture.savefig(folder / f"{name}.png", metadata={"Software": None})
    picture.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    plt.close(picture)
