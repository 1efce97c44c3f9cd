"""The explorer page: time to make it, its size, and milliseconds a frame while the gap is dragged from end to end.

It needs chromium and playwright. With --film it also makes the moving picture of the root README.
"""

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import frame
from frame import fact, pairs, seconds
from util import UserError, explorer, published

DRAG = """async () => {
  const times = [], { input } = explorer.shift;
  let last = await new Promise(requestAnimationFrame);
  for (input.value = -0.5; input.value < 2.5; input.stepUp()) {
    input.dispatchEvent(new Event("input"));
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""
HIDE = """document.querySelectorAll("header, .stops, .info, .view, .hint, .panel:nth-child(2)").forEach((each) => {
  each.style.display = "none"; })"""
STATE = "([shift, temperature]) => { explorer.set({ shift, temperature, query: -1 }); explorer.draw(); }"


@dataclass(frozen=True, kw_only=True)
class Settings(frame.Settings):
    film: Path | None = None
    """Write an animated .webp of the published CLIP: the shift there and back, then the temperature."""


def measure(settings: Settings) -> dict[str, list[dict]]:
    """Facts of a page about 5,000 pairs."""
    if not (chromium := shutil.which("chromium")):
        raise UserError("no chromium to draw the page in; apt-get install chromium")
    both, pages = pairs(settings.size(5000, 300), settings.seed), []
    took = seconds(lambda: pages.append(explorer.report(*both, umap=False).html), settings.runs)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1280, "height": 900})
        window.set_content(pages[0])
        window.wait_for_timeout(3000)
        frames = [np.median(window.evaluate(DRAG)) for _ in range(settings.runs)]
        if settings.film:
            film(window, settings.film)
    of = f"page of {len(both[0])} x {frame.WIDTH} pairs"
    facts = [(f"{of}, seconds without UMAP (bar 6)", np.median(took)), (f"{of}, MB (bar 3)", len(pages[0]) / 1e6)]
    return {"facts": [fact(*each) for each in (*facts, (f"{of}, ms a frame of a drag (bar 33)", np.median(frames)))]}


def film(window: Page, path: Path) -> None:
    """Dials, clouds and curves of the published CLIP while its shift, and then its temperature moves."""
    window.set_content(explorer.report({"CLIP": published.load("clip")}, umap=False).html)
    window.set_viewport_size({"width": 1000, "height": 1200})
    window.evaluate(HIDE)
    there = np.linspace(0, 0.84, 22)
    states = [(float(shift), 0.01) for shift in (*there, *[0.84] * 4, *there[::-2])]
    states += [(0, 0.01 * 100 ** (k / 24)) for k in (*range(25), *[24] * 4, *range(24, 0, -2))]
    images = []
    for state in states:
        window.evaluate(STATE, state)
        window.wait_for_timeout(60 if images and state[1] == 0.01 else 500)
        box = window.locator(".models").bounding_box()
        picture = window.screenshot(clip={"x": 10, "y": 20, "width": 980, "height": box["y"] + box["height"] - 20})
        images.append(Image.open(io.BytesIO(picture)).convert("RGB"))
        images[-1].thumbnail((800, 800))
    images[0].save(path, save_all=True, append_images=images[1:], duration=90, loop=0, quality=60, method=6)


if __name__ == "__main__":
    frame.main("page", "The explorer page: time, size, frames", measure, __doc__, Settings)
