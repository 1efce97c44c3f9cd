"""How a shift changes a task: through one number for each candidate, its projection on the gap vector.

An image x is held against texts y. A shift moves x by a against the unit gap vector u and y by b along it, and

    cos = (s + b p - a q - a b) / (||x - a u|| sqrt(1 + 2 b q + b^2))    with s = <x, y>, p = <x, u>, q = <y, u>.

An image's own norm is the same for every text, so its decision changes only because the q of the texts differ. Text to
image, the two change places.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from embedded_tasks import EmbeddedTask
from util.geometry import Side, unit_gap_vector
from util.zero_shot.outcomes import Hits, Outcomes


def reach(
    task: EmbeddedTask, outcomes: Mapping[str, Outcomes], shifts: Float[np.ndarray, "k"], side: Side
) -> list[dict]:
    """How the candidates' projections differ, and which items change from right to wrong or back at any shift.

    Args:
        task: what was measured.
        outcomes: by metric, at every shift along the task's own gap vector; those that are not hits are left out.
        shifts: amounts, with 0 among them.
        side: who moves.

    Returns:
        a row for each metric. spread, lowest, highest: of the candidates' projections q. changes: share of items that
        change at any shift. gained, lost: of these, wrong or right without a shift.
    """
    unit, rows = unit_gap_vector(task.images, task.texts), []
    for metric, found in outcomes.items():
        if isinstance(found, Hits):
            q = -task.images @ unit if metric.startswith("text-to-image") else task.texts @ unit
            before = found.hits[shifts == 0][0]
            changes = (found.hits != before).any(0)
            about = {"dataset": task.dataset, "metric": metric, "model": task.model, "side": side, "n": found.n}
            about |= {"spread": q.std(), "lowest": q.min(), "highest": q.max(), "changes": changes.mean()}
            rows.append({**about, "gained": (changes & ~before).mean(), "lost": (changes & before).mean()})
    return rows
