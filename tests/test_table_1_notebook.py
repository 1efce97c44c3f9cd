"""The notebook of Table 1 regenerates its table, of the project's tasks or of your own embeddings."""

import numpy as np
import pytest

import notebook_runs
from util import Embeddings


@pytest.mark.parametrize("kind", ["preset", "pairs", "apart"])
def test_the_notebook_makes_what_is_not_there_and_shows_it(tmp_path, tmp_path_factory, rng, kind):
    own, beside, outputs = None, {}, tmp_path / "outputs"
    if kind == "preset":
        notebook_runs.with_records(outputs / "Table_1_Implications_CLIP_Zero_Shot", ["zero_shot"], tmp_path_factory)
    else:
        own, text = tmp_path / "mine.npz", rng.normal(size=(30, 6))
        image = text + rng.normal(size=(30, 6)) - 0.5
        Embeddings.of({"image": image, "text": text}).save(own)
        parts = {"EMBEDDINGS": image, "LABELS": np.arange(30) % 5, "PROMPTS": text[:5]} if kind == "apart" else {}
        for name, rows in parts.items():
            beside[name] = tmp_path / ("mine.npy" if name == "EMBEDDINGS" else f"{name}.npy")
            np.save(beside[name], rows)
    shown, pictures = notebook_runs.run("table_1", tmp_path, embeddings=own, **beside)
    assert pictures == 2 and ("mine" in shown) == bool(own) and ("handwritten digits" in shown) != bool(own)
    assert all(word in shown for word in ("decisions change", "can_change"))
    assert ("n_of_published_p" in shown) != bool(own)
    assert ("the record that is there is used" in shown) != bool(own)
    assert (outputs / "own" / "mine-smoke" / "zero_shot_table.html").is_file() == bool(own)
