/* The modality gap of anybody's embeddings as a dial.

First the numbers, which node imports too; then what draws them. All that moves is closed-form. With S = <x, y>,
a = <x, u>, b = <y, u> and t half of the shift, the moved rows x - t u and y + t u have the cosine
(S + t (a - b) - t^2) / (|x - t u| |y + t u|), with |x - t u|^2 = 1 - 2 t a + t^2 and |y + t u|^2 = 1 + 2 t b + t^2. */

// ---------------------------------------------------------------------------------------------------- numbers

const KINDS = { f4: Float32Array, f8: Float64Array, u2: Uint16Array, u4: Uint32Array };

/** The page's content: json whose arrays are {kind, shape, "\0base64"}, little-endian. */
export function decode(text) {
  return JSON.parse(text, (_, value) => {
    if (!value || value["\0base64"] === undefined) return value;
    const bytes = Uint8Array.from(atob(value["\0base64"]), (each) => each.charCodeAt(0));
    const array = new KINDS[value.kind](bytes.buffer);
    array.shape = value.shape;
    return array;
  });
}

/** The content with names for what the drawing asks for often. */
export function prepare(content) {
  for (const model of content.models || []) {
    const { first, last, along, rows } = model, file = (text) => (/^[\d.]+$/.test(text) ? `${first} ${text}` : text.replace(/[\\/]+$/, "").split(/[\\/]/).pop() || text);
    [model.a, model.b] = along;
    model.own ??= [];
    model.made = content.made;
    model.captions = [[], model.captions];
    model.names = [model.names.map(file), []].map((names, side) => (names.length ? names : Array.from(rows[side], (row) => `${side ? last : first} ${row}`)));
    if (model.classes && !model.classes.names.length) model.classes.names = Array.from({ length: model.b.length }, (_, k) => `class ${k}`);
  }
  return content;
}

/** 1 / |x - t u| of every row from its projection on u; for the second modality t is negative. */
export function inverses(projections, t) {
  const found = new Float64Array(projections.length);
  for (let i = 0; i < found.length; i++) found[i] = 1 / Math.sqrt(1 - 2 * t * projections[i] + t * t);
  return found;
}

/** Place of a shift on the grid of the dial. */
export function place(model, shift) {
  const last = model.shifts.length - 1;
  return Math.max(0, Math.min(last, Math.round(((shift - model.shifts[0]) / (model.shifts[last] - model.shifts[0])) * last)));
}

/** The symmetric contrastive loss in nats of the first batches after a shift. A term is log(1 + what others add to the
 *  own exponential), which keeps its digits where it is small.
 *  With `bins` (Float64Array) the unmatched cosines are counted there, over [-1, 1]. */
export function loss(model, shift, temperature, count = Infinity, bins = null) {
  const [all, size] = model.cosines.shape, most = Math.min(all, count), t = shift / 2;
  const { a, b, cosines, batches } = model, ix = inverses(a, t), iy = inverses(b, -t), width = bins ? bins.length / 2 : 0;
  const columns = new Float64Array(size), own = new Float64Array(size), offsets = new Float64Array(size), inverse = new Float64Array(size);
  let total = 0;
  for (let batch = 0, cell = 0; batch < most; batch++) {
    const start = batch * size;
    columns.fill(0);
    for (let j = 0; j < size; j++) {
      const row = batches[2 * (start + j) + 1];
      offsets[j] = t * b[row];
      inverse[j] = iy[row];
    }
    for (let i = 0; i < size; i++) {
      const row = batches[2 * (start + i)], offset = t * a[row] - t * t, norm = ix[row];
      let sum = 0;
      for (let j = 0; j < size; j++, cell++) {
        const cosine = (cosines[cell] + offset - offsets[j]) * norm * inverse[j], each = Math.exp((cosine - 1) / temperature);
        if (i === j) { own[i] = each; continue; }
        sum += each;
        columns[j] += each;
        if (width) bins[Math.max(0, Math.min(bins.length - 1, ((cosine + 1) * width) | 0))]++;
      }
      total += Math.log1p(sum / own[i]);
    }
    for (let j = 0; j < size; j++) total += Math.log1p(columns[j] / own[j]);
  }
  return total / (2 * most * size);
}

/** The loss at every `step`th shift of the dial, at first of a few batches, made equal to the exact one at `shift`. */
export function roughCurve(model, temperature, shift, exact, step, count) {
  const rough = Array.from({ length: Math.ceil(model.shifts.length / step) }, (_, k) => loss(model, model.shifts[k * step], temperature, count));
  const off = exact - loss(model, shift, temperature, count);
  return rough.map((value) => value + off);
}

/** Where the loss is lowest on the dial, from a curve of every `step`th shift and then each shift around its lowest:
 *  {loss, shift, end}. At an end of the dial, `valley` is the lowest place of the inner valley nearest to no shift.
 *  Of a flat stretch the middle is taken. */
export function lowest(model, temperature, curve, step) {
  const { shifts } = model, last = shifts.length - 1;
  const refined = (around) => {
    const places = Array.from({ length: 2 * step - 1 }, (_, k) => around * step - step + 1 + k).filter((k) => k >= 0 && k <= last);
    const values = places.map((k) => loss(model, shifts[k], temperature)), least = Math.min(...values);
    const flat = places.filter((_, k) => values[k] <= least * (1 + 1e-9)), k = flat[flat.length >> 1];
    return { loss: least, shift: shifts[k], end: k === 0 || k === last };
  };
  const least = Math.min(...curve), flat = Array.from(curve.keys()).filter((k) => curve[k] <= least * (1 + 1e-9));
  const best = refined(flat[flat.length >> 1]);
  if (!best.end) return best;
  const valleys = Array.from(curve.keys()).filter((k) => k > 0 && k < curve.length - 1 && curve[k] < curve[k - 1] && curve[k] <= curve[k + 1]);
  const nearest = valleys.sort((p, q) => Math.abs(shifts[p * step]) - Math.abs(shifts[q * step])).map(refined).find((each) => !each.end);
  return { ...best, valley: nearest };
}

/** Numbers of all rows, or of all drawn ones, that are kept for every shift of the dial. */
export function numbers(model, shift) {
  const k = place(model, shift), paired = model.matched.length > 0;
  return {
    gap: model.signed[k],
    matched: paired ? model.matched[k] : null,
    hits: paired ? [model.hits[0][k], model.hits[1][k]] : null,
    asked: model.asked,
  };
}

/** Counts over [-1, 1] of the matched cosines and of those within each modality. */
export function histogram(model, shift, which, bins) {
  const t = shift / 2, width = bins.length / 2;
  const count = (cosine) => bins[Math.max(0, Math.min(bins.length - 1, ((cosine + 1) * width) | 0))]++;
  if (which === "matched") {
    const ix = inverses(model.a, t), iy = inverses(model.b, -t);
    for (let i = 0; i < model.matches.length; i++) {
      const row = model.own[2 * i], column = model.own[2 * i + 1];
      count((model.matches[i] + t * (model.a[row] - model.b[column]) - t * t) * ix[row] * iy[column]);
    }
    return bins;
  }
  const side = which === "first" ? 0 : 1, step = side ? -t : t, p = side ? model.b : model.a;
  const { i, j, cosines } = model.within[side], inverse = inverses(p, step);
  for (let k = 0; k < cosines.length; k++)
    count((cosines[k] - step * (p[i[k]] + p[j[k]]) + step * step) * inverse[i[k]] * inverse[j[k]]);
  return bins;
}

/** Places (n, 2) of the rows of a modality on the two principal components after a shift. */
export function project(model, side, shift, out) {
  const t = ((side ? -1 : 1) * shift) / 2, [px, py] = model.view[2], view = model.view[side];
  const p = side ? model.b : model.a;
  for (let i = 0; i < p.length; i++) {
    const inverse = 1 / Math.sqrt(1 - 2 * t * p[i] + t * t);
    out[2 * i] = (view[2 * i] - t * px) * inverse;
    out[2 * i + 1] = (view[2 * i + 1] - t * py) * inverse;
  }
  return out;
}

/** How many of all rows are right at a shift, how many are decided otherwise than without one, and the commonest moves. */
export function decisions(model, shift) {
  const { right, flipped, moves } = model.classes, k = place(model, shift), found = [];
  for (let i = 0; i < moves.length; i += 4) if (moves[i] === k) found.push({ from: moves[i + 1], to: moves[i + 2], count: moves[i + 3] });
  return { right: right[k], flipped: flipped[k], moves: found, shift: model.shifts[k] };
}

/** Cosines of n points `spacing` degrees apart on the equator; texts stand at `angle` on their meridians. */
export function sphereLoss(spacing, textOf, angle, temperature) {
  const n = textOf.length, contrast = Math.cos(angle), all = textOf.map((_, i) => i);
  const cosine = (i, j) => Math.cos(((i - j) * spacing * Math.PI) / 180) * contrast;
  const terms = all.map((i) => Math.log(all.reduce((sum, j) => sum + Math.exp((cosine(i, j) - 1) / temperature), 0)) - (cosine(i, textOf[i]) - 1) / temperature);
  return terms.reduce((sum, each) => sum + each, 0) / n;
}

/** Six pairs of which the last `count` are matched in a circle: 0 or at least 2 are mismatched. */
export function mismatched(n, count) {
  const right = n - count;
  return Array.from({ length: n }, (_, i) => (i < right ? i : right + ((i - right + 1) % count)));
}

/** Numbers that divide an axis, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, k) => (first + k) * step);
}

/** "0.0125" of a number, with a true minus; a dash where there is none. */
export function said(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 10 ** -digits / 2) ? value.toExponential(2) : value.toFixed(digits);
  return text.replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
}

/** "1/100" of a temperature whose inverse is about a whole number, else "0.013". */
export function temperatureWords(temperature) {
  const scale = 1 / temperature;
  return Math.abs(scale - Math.round(scale)) < 1e-3 * scale && scale > 1.5 ? `1/${Math.round(scale)}` : said(temperature, temperature < 0.1 ? 4 : 3);
}

/** "3rd" of 3. */
export const ordinal = (n) => n + (["th", "st", "nd", "rd"][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] || "th");

/** 12,345 of 12345. */
export const whole = (n) => Number(n).toLocaleString("en-US");

/** The Python that computes what the page shows. */
export function python(model, state) {
  const { made, shift } = { ...model, ...state }, quoted = (text) => JSON.stringify(String(text)), numbered = (values) => `[${Array.from(values).join(", ")}]`;
  const lines = ["import numpy as np", "import util", "from util import explorer", ""];
  if (made) {
    const columns = Object.entries(made.columns).map(([name, column]) => `${quoted(name)}: ${quoted(column)}`);
    const named = [columns.length ? `, {${columns.join(", ")}}` : "", ...["labels", "prompts"].map((key) => (made[key] ? `, ${key}=${quoted(made[key])}` : ""))];
    lines.push(`sets = explorer.sets_of((${made.files.map((each) => `${quoted(each)},`).join(" ")})${named.join("")})`, `embeddings = sets[${quoted(model.name)}].normalised()`);
  } else lines.push(`embeddings = ...  # yours, or util.Embeddings.of({${quoted(model.first)}: x, ${quoted(model.last)}: y}) of your arrays`);
  lines.push("x, y = embeddings.modalities.values()", "unit = util.geometry.unit_gap_vector(x, y)", `moved = util.geometry.shift(x, y, ${shift}, unit)`, "print(util.geometry.gap_distance(*moved))");
  if (model.cosines) {
    const [, size] = model.cosines.shape, few = (count) => (count < model.pairs ? `[np.arange(${count}) * len(p) // ${count}]` : "");
    const [thin, asked] = [few(model.own.length / 2), few(model.asked_pairs)];
    lines.push("", "p, q = embeddings.paired()", `print(util.contrastive.sweep_both(p${thin}, q${thin}, ${shift}, ${state.temperature}, ${size === model.batch ? size : "None"}, direction=unit).symmetric)`);
    if (asked) lines.push(`p, q = p${asked}, q${asked}  # the pairs among which recall is counted`);
    lines.push("own = util.numerics.items.matched(p, q, np.tile(np.arange(len(p))[:, None], 2))", `print(util.zero_shot.shifted.hits(p[own.first], q[own.second], own.pairs, ${shift}, unit))`);
  }
  if (model.classes) lines.push("", `before, after = util.zero_shot.shifted.predict(x, y, [0, ${shift}], unit)`, "print((after == embeddings.labels).mean(), (after != before).sum())");
  if (state.removed) lines.push("", `removed = ${numbered(model.ablated.order.slice(0, state.removed))}`, "kept = [util.geometry.unit_rows(np.delete(part, removed, axis=1)) for part in (x, y)]", "print(util.geometry.gap_distance(*kept))");
  const queries = model.search?.queries, query = queries?.[Math.min(state.query, queries.length - 1)], side = query < model.a?.length ? 0 : 1;
  if (queries) lines.push("", `query = [x, y][${side}][${model.rows[side][side ? query - model.a.length : query]}]  # the nearest rows of both: the numbers of y follow those of x`, "print(np.argsort(-np.concatenate([x, y]) @ query)[:11])");
  return lines.join("\n");
}

// ---------------------------------------------------------------------------------------------------- drawing

/** An element with attributes, and children as text or elements: text is never read as html. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "g", "text", "circle", "rect", "clipPath", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined));
  return element;
}

export const plural = (name) => (name.length < 2 || /(s|x|ch)$/.test(name) ? name : /[^aeiou]y$/.test(name) ? `${name.slice(0, -1)}ies` : `${name}s`);
/** "2 texts" of 2 and "text". */
const many = (n, name) => `${whole(n)} ${n === 1 ? name : plural(name)}`;
const article = (name) => `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name}`;
const percent = (share, digits = 1) => `${(100 * share).toFixed(share === 1 || share === 0 ? 0 : digits)}%`;
const strong = (text) => make("strong", {}, bdi(text));
/** Light or dark where the page around a frame says so: a report is light. */
const framed = () => { const scheme = window.frameElement ? getComputedStyle(window.frameElement).colorScheme : ""; return ["light", "dark"].includes(scheme) ? scheme : ""; };
/** Words of the user, which turn no sentence around. */
const bdi = (text) => make("bdi", {}, String(text));
const mark = (side) => make("span", { class: `mark ${side ? "last" : "first"}`, "aria-hidden": "true" });

/** Sets the text of an element where it differs. */
function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A line chart over the shifts. It is a dial itself: dragging on it sets the shift. */
class Chart {
  constructor(title, height, { format = said, drag = null, low = null, high = null, label = "" } = {}) {
    Object.assign(this, { height, format, drag, low, high, curves: [], dots: [], at: null, minimum: null });
    this.svg = make("svg", { class: "chart", role: "img", "aria-label": label || title, height });
    this.note = make("span", { class: "note" });
    this.element = make("figure", { class: "panel" }, make("figcaption", {}, make("b", {}, title), this.note), this.svg);
    this.clip = `clip${Chart.count = (Chart.count || 0) + 1}`;
    if (drag) {
      this.svg.classList.add("live");
      const move = (event) => drag(this.value(event.clientX - this.svg.getBoundingClientRect().left));
      this.svg.addEventListener("pointerdown", (event) => { this.svg.setPointerCapture(event.pointerId); move(event); });
      this.svg.addEventListener("pointermove", (event) => event.buttons && move(event));
    }
  }

  value(pixel) {
    const [from, to] = this.domain;
    return from + ((pixel - this.left) / (this.width - this.left - 8)) * (to - from);
  }

  /** Draws curves [{cls, xs, ys}], areas [{..., area: true}] over a domain; what moves is drawn by `move`. */
  draw(domain, curves, { range = null, minimum = null, word = "lowest" } = {}) {
    const frame = [...domain, ...(range || [NaN]), this.size, curves.length].join();
    Object.assign(this, { domain, curves, minimum });
    if (this.frame === frame && minimum === null) return this.paths.forEach((path, k) => path.setAttribute("d", this.line(curves[k])));
    this.frame = frame;
    this.width = Math.max(240, this.svg.clientWidth || 240);
    const values = curves.flatMap((curve) => [...curve.ys]).filter(Number.isFinite);
    let [low, high] = range || [Math.min(...values), Math.max(...values)];
    if (!(high > low)) [low, high] = [low - 0.5 || -0.5, high + 0.5 || 0.5];
    const pad = range ? 0 : (high - low) * 0.08;
    [low, high] = [low - pad, high + pad];
    const marks = ticks(low, high, this.height < 150 ? 2 : 4), step = marks.length > 1 ? marks[1] - marks[0] : 1;
    const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
    const written = marks.map((each) => (this.format === said ? said(each, digits) : this.format(each, digits)));
    this.left = 14 + 7 * Math.max(2, ...written.map((each) => each.length));
    this.x = (value) => this.left + ((value - domain[0]) / (domain[1] - domain[0])) * (this.width - this.left - 8);
    this.y = (value) => 8 + (1 - (value - low) / (high - low)) * (this.height - 30);
    this.cursor = make("line", { class: "cursor", y1: 6, y2: this.height - 22 });
    const parts = [make("clipPath", { id: this.clip }, make("rect", { x: this.left, y: 4, width: Math.max(0, this.width - this.left - 4), height: this.height - 24 }))];
    marks.forEach((each, k) => parts.push(
      make("line", { class: "grid", x1: this.left, x2: this.width - 8, y1: this.y(each), y2: this.y(each) }),
      make("text", { x: this.left - 6, y: this.y(each) + 4, "text-anchor": "end" }, written[k])));
    for (const each of ticks(domain[0], domain[1], this.width < 320 ? 4 : 6))
      parts.push(make("text", { x: this.x(each), y: this.height - 6, "text-anchor": "middle" }, said(each, Number.isInteger(each) ? 0 : 1)));
    this.paths = curves.map((curve) => make("path", { class: `${curve.area ? "area" : "curve"} ${curve.cls}`, d: this.line(curve), "clip-path": `url(#${this.clip})` }));
    parts.push(...this.paths, this.cursor);
    if (minimum !== null) {
      const side = this.x(minimum) > this.width - 90, words = `${word} at ${said(minimum, Number.isInteger(minimum) ? 0 : 2)}`, wide = 6.6 * words.length;
      parts.push(make("rect", { class: "under", x: this.x(minimum) + (side ? -6 - wide : 6), y: 4, width: wide, height: 16 }), make("line", { class: "minimum", x1: this.x(minimum), x2: this.x(minimum), y1: 6, y2: this.height - 22 }),
        make("text", { class: "minimum", x: this.x(minimum) + (side ? -6 : 6), y: 16, "text-anchor": side ? "end" : "start" }, words));
    }
    this.dots = curves.filter((curve) => !curve.area).map(({ cls }) => make("circle", { class: `dot ${cls}`, r: 6 }));
    this.svg.replaceChildren(make("title", {}, this.svg.getAttribute("aria-label")), ...parts, ...this.dots);
  }

  line({ xs, ys, area }) {
    const at = (x, y) => `${Math.round(10 * this.x(x)) / 10} ${Math.round(10 * this.y(y)) / 10}`, points = [];
    for (let k = 0; k < ys.length; k++) points.push(at(xs[k], ys[k]));
    return area ? `M${at(xs[0], 0)}L${points.join("L")}L${at(xs[xs.length - 1], 0)}Z` : `M${points.join("L")}`;
  }

  /** Moves the cursor to a shift and the dots to the values there. */
  move(shift, values) {
    if (!this.cursor) return;
    const x = this.x(shift);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.dots.forEach((dot, k) => {
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", Math.max(6, Math.min(this.height - 22, this.y(values[k]))));
    });
  }
}

/** The two clouds of points, on a canvas. */
class Cloud {
  constructor(model, choose) {
    Object.assign(this, { model, choose, view: "pca", hovered: -1, sprites: {} });
    const words = `${whole(model.a.length)} ${plural(model.first)} and ${whole(model.b.length)} ${plural(model.last)} as points in two dimensions. Left and right arrows choose a point.`;
    this.canvas = make("canvas", { class: "cloud", tabindex: "0", role: "img", "aria-label": words });
    this.places = [0, 1].map((side) => new Float32Array(2 * [model.a, model.b][side].length));
    this.lines = model.own.length ? Math.max(60, Math.min(model.own.length / 2, Math.round(4e5 / model.own.length))) : 0;
    const queries = model.search.queries, n = model.a.length;
    this.shown = Array.from(queries, (each) => (each < n ? [0, each] : [1, each - n]));
    const move = (event) => { this.hovered = this.nearest(event); choose(this.hovered, event.type === "click"); };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("click", move);
    this.canvas.addEventListener("pointerleave", () => { this.hovered = -1; choose(-1, false); });
    this.canvas.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      choose((Math.max(0, this.chosen ?? 0) + by + this.shown.length) % this.shown.length, true);
    });
    this.box = this.extent();
  }

  /** The square in which all points stay at every shift, by the view. */
  extent() {
    const boxes = {}, { model } = this;
    const of = (sets) => {
      const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
      for (const set of sets) for (let i = 0; i < set.length; i++) {
        low[i & 1] = Math.min(low[i & 1], set[i]);
        high[i & 1] = Math.max(high[i & 1], set[i]);
      }
      return { low, high };
    };
    const at = [-0.5, 0, model.closed, Math.min(2.5, 2 * model.signed[place(model, 0)])];
    boxes.pca = of(at.flatMap((shift) => [0, 1].map((side) => project(model, side, shift, new Float32Array(this.places[side].length)))));
    if (model.umap) boxes.umap = of(model.umap);
    return boxes;
  }

  resize() {
    const ratio = Math.min(2, window.devicePixelRatio || 1), { clientWidth: width, clientHeight: height } = this.canvas;
    Object.assign(this, { ratio, width, height });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(this.canvas);
    this.colours = ["--first", "--last", "--ink", "--line", "--bg"].map((name) => style.getPropertyValue(name).trim());
    this.sprites = [0, 1].map((side) => {
      const many = [this.model.a, this.model.b][side].length, radius = many < 60 ? 5.5 : many < 1000 ? 3 : 2.7;
      const size = Math.ceil(13 * ratio), sprite = make("canvas", { width: size, height: size }), pen = sprite.getContext("2d");
      pen.fillStyle = this.colours[side];
      pen.beginPath();
      if (side) pen.rect(size / 2 - 0.88 * radius * ratio, size / 2 - 0.88 * radius * ratio, 1.76 * radius * ratio, 1.76 * radius * ratio);
      else pen.arc(size / 2, size / 2, radius * ratio, 0, 7);
      pen.fill();
      return sprite;
    });
  }

  /** Pixels of a place of the view. */
  frame() {
    const { low, high } = this.box[this.view], pad = 18;
    const scale = Math.min((this.width - 2 * pad) / (high[0] - low[0] || 1), (this.height - 2 * pad) / (high[1] - low[1] || 1));
    return { scale, x: this.width / 2 - (scale * (low[0] + high[0])) / 2, y: this.height / 2 + (scale * (low[1] + high[1])) / 2 };
  }

  draw(shift) {
    const { model, ratio } = this, pen = this.canvas.getContext("2d"), { scale, x, y } = this.frame();
    if (this.view === "umap") model.umap.forEach((each, side) => this.places[side].set(each));
    else for (const side of [0, 1]) project(model, side, shift, this.places[side]);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const [first, last] = this.places, spot = (side, i) => [x + scale * this.places[side][2 * i], y - scale * this.places[side][2 * i + 1]];
    if (this.lines) {
      const step = model.own.length / 2 / this.lines;
      pen.globalAlpha = Math.max(0.1, Math.min(0.35, 30 / this.lines));
      pen.strokeStyle = this.colours[2];
      pen.lineWidth = 0.7;
      pen.beginPath();
      for (let k = 0; k < this.lines; k++) {
        const i = Math.floor(k * step);
        pen.moveTo(...spot(0, model.own[2 * i]));
        pen.lineTo(...spot(1, model.own[2 * i + 1]));
      }
      pen.stroke();
    }
    const total = (first.length + last.length) / 2, few = total <= 2400;
    [first, last].forEach((set, side) => {
      pen.globalAlpha = few ? 0.8 : 0.45;
      if (!few) this.dust(pen, side, scale, x, y);
      const at = few ? null : this.shown;
      pen.globalAlpha = few ? 0.75 : 0.9;
      const put = (i) => pen.drawImage(this.sprites[side], x + scale * set[2 * i] - 6.5, y - scale * set[2 * i + 1] - 6.5, 13, 13);
      if (few) for (let i = 0; i < set.length / 2; i++) put(i);
      else for (const [of, i] of at) if (of === side) put(i);
    });
    pen.globalAlpha = 1;
    if (model.classes && model.b.length <= 24) {
      pen.font = "600 12px system-ui, sans-serif";
      pen.fillStyle = this.colours[2];
      pen.textAlign = "center";
      for (let i = 0; i < model.b.length; i++) pen.fillText(model.classes.names[i] ?? "", ...spot(1, i).map((each, k) => each - 10 * k));
    }
    for (const [k, strength] of [[this.chosen, 1], [this.hovered, 0.8]]) if (k >= 0 && this.shown[k]) this.ring(pen, spot, this.shown[k], strength);
  }

  /** Many points as single pixels: a tenth of the time of as many squares. */
  dust(pen, side, scale, x, y) {
    const { ratio } = this, { width, height } = this.canvas, set = this.places[side], size = Math.round(2 * ratio);
    if (this.layer?.width !== width || this.layer.height !== height) {
      this.layer = make("canvas", { width, height });
      this.image = this.layer.getContext("2d").createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    const colour = parseInt(this.colours[side].slice(1), 16), word = 0xff000000 | ((colour & 0xff) << 16) | (colour & 0xff00) | (colour >> 16);
    this.pixels.fill(0);
    for (let i = 0; i < set.length; i += 2) {
      const left = Math.round(ratio * (x + scale * set[i]) - size / 2), top = Math.round(ratio * (y - scale * set[i + 1]) - size / 2);
      if (left < 0 || top < 0 || left + size > width || top + size > height) continue;
      for (let row = 0, at = top * width + left; row < size; row++, at += width) this.pixels.fill(word, at, at + size);
    }
    this.layer.getContext("2d").putImageData(this.image, 0, 0);
    pen.drawImage(this.layer, 0, 0, this.width, this.height);
  }

  /** A point and its pairs, lit up. */
  ring(pen, spot, [side, i], strength) {
    const { own } = this.model;
    pen.globalAlpha = strength;
    pen.strokeStyle = this.colours[2];
    pen.lineWidth = 1.8;
    for (let k = 0; k < own.length / 2; k++) {
      if (own[2 * k + side] !== i) continue;
      const j = own[2 * k + 1 - side], [px, py] = spot(1 - side, j);
      pen.beginPath();
      pen.moveTo(...spot(side, i));
      pen.lineTo(px, py);
      pen.moveTo(px + 5.5, py);
      pen.arc(px, py, 5.5, 0, 7);
      pen.stroke();
    }
    const [px, py] = spot(side, i);
    pen.beginPath();
    pen.arc(px, py, 7, 0, 7);
    pen.fillStyle = this.colours[side];
    pen.fill();
    pen.stroke();
    pen.globalAlpha = 1;
  }

  nearest(event) {
    const box = this.canvas.getBoundingClientRect(), { scale, x, y } = this.frame();
    let best = 26 ** 2, found = -1;
    this.shown.forEach(([side, i], k) => {
      const dx = x + scale * this.places[side][2 * i] - (event.clientX - box.left);
      const dy = y - scale * this.places[side][2 * i + 1] - (event.clientY - box.top);
      if (dx * dx + dy * dy < best) [best, found] = [dx * dx + dy * dy, k];
    });
    return found;
  }
}

const STEP = 5;
const BINS = 160;

/** One set of embeddings on the page: clouds, curves and numbers. */
class View {
  constructor(model, page) {
    Object.assign(this, { model, page, curve: null, key: "" });
    this.cloud = new Cloud(model, (k, keep) => this.look(k, keep));
    this.tiles = {};
    const tile = (key, label, hint) => {
      this.tiles[key] = make("dd", {}, "–");
      return make("div", { class: "tile", title: hint }, make("dt", {}, label), this.tiles[key]);
    };
    const { first, last } = model, drag = (shift) => page.set({ shift });
    const tiles = [tile("gap", "Gap distance", "Distance between the two centres, from 0 to 2. Negative: they have passed each other.")];
    this.charts = {};
    if (model.matched.length) {
      tiles.push(tile("matched", "Matched cosine", "Mean cosine of the pairs"));
      const among = model.asked_pairs < model.pairs ? `, among ${whole(model.asked_pairs)} drawn` : "";
      tiles.push(tile("recall0", `${first} → ${last}, recall@1${among}`, `How many ${plural(first)} have a ${last} of their own nearest`));
      tiles.push(tile("recall1", `${last} → ${first}, recall@1${among}`, `How many ${plural(last)} have ${article(first)} of their own nearest`));
    }
    if (model.cosines) {
      tiles.splice(1, 0, tile("loss", "Loss, nats", "The symmetric contrastive loss"));
      const [batches, size] = model.batches.shape, count = batches * size, of = count < model.pairs ? ` of ${whole(model.pairs)}` : "";
      this.charts.loss = new Chart("Contrastive loss", 210, { drag, label: `Contrastive loss at every shift, ${count} pairs` });
      this.lossNote = `${whole(count)}${of} pairs in ${batches > 1 ? `batches of ${size}` : "one batch"}`;
    }
    if (model.matched.length) this.charts.recall = new Chart("Recall@1", 130, { drag, format: (value, digits) => percent(value, Math.max(0, digits - 2)), label: "Recall at 1 in both directions at every shift" });
    if (model.classes) {
      tiles.push(tile("accuracy", "Accuracy", "How many rows go to the class of their label"), tile("flipped", "Decisions that flip", "Rows whose class is another one than without a shift"));
      this.charts.accuracy = new Chart("Zero-shot accuracy", 210, { drag, format: (value, digits) => percent(value, Math.max(0, digits - 2)) });
    }
    this.bars = new Chart("Cosines", 190, { label: "Distributions of cosines: matched, unmatched, and within each modality" });
    this.info = make("div", { class: "info", "aria-live": "polite" });
    const toggle = model.umap ? make("div", { class: "choice", role: "group", "aria-label": "Layout" }, ["pca", "umap"].map((view) =>
      make("button", { type: "button", "data-view": view, onclick: () => page.set({ view }) }, view.toUpperCase()))) : null;
    this.viewNote = make("p", { class: "small muted view" });
    this.element = make("section", { class: "model", "aria-label": model.name },
      page.models.length > 1 ? make("h3", {}, bdi(model.name)) : null,
      make("dl", { class: "tiles" }, tiles),
      make("div", { class: "stage" },
        make("div", { class: "left" }, make("div", { class: "legend" },
          [[model.a.length, model.n, first], [model.b.length, model.m, last]].map(([count, all, name], side) =>
            make("span", {}, mark(side), count < all ? `${whole(count)} of ${many(all, name)}` : many(count, name))), toggle), this.cloud.canvas, this.viewNote, this.info),
        make("div", { class: "right" }, Object.values(this.charts).map((chart) => chart.element), this.legend(), this.bars.element)));
  }

  legend() {
    const { first, last, matched, pairs, a } = this.model;
    const entries = [...(this.model.cosines ? [["matched", "matched"], ["unmatched", "unmatched"]] : []), ["first", `two ${plural(first)}`], ["last", `two ${plural(last)}`]];
    this.bars.note.append(...entries.map(([cls, words]) => make("span", { class: "key" }, make("i", { class: cls }), words)));
    return null;
  }

  /** Draws what does not move: on start, when the window or the theme changes. */
  layout() {
    this.cloud.resize();
    for (const chart of [this.bars, ...Object.values(this.charts)]) chart.frame = "";
    if (this.curve) this.plot();
    const { model, charts } = this, domain = [model.shifts[0], model.shifts[model.shifts.length - 1]];
    if (charts.recall) {
      const share = (side) => Array.from(model.hits[side], (each) => each / model.asked[side]);
      charts.recall.draw(domain, [{ cls: "first", xs: model.shifts, ys: share(0) }, { cls: "last", xs: model.shifts, ys: share(1) }], { range: [0, 1.08 * Math.max(...share(0), ...share(1)) || 1] });
    }
    if (charts.accuracy) {
      charts.accuracy.draw(domain, [{ cls: "first", xs: model.shifts, ys: Array.from(model.classes.right, (each) => each / model.n) }]);
    }
  }

  /** Everything at a state. */
  draw(state) {
    const { model, charts, tiles } = this, { shift, temperature } = state, now = numbers(model, shift);
    this.cloud.view = model.umap ? state.view : "pca";
    this.cloud.draw(shift);
    this.element.querySelectorAll("[data-view]").forEach((each) => each.setAttribute("aria-pressed", each.dataset.view === state.view));
    tell(this.viewNote, this.cloud.view === "umap" ? "UMAP of the rows as they are: it has no formula for a shift, so it stays." : `Two principal components.${model.own.length ? " Lines join pairs." : ""}${model.a.length < model.n || model.b.length < model.m ? " Equal rows are one point." : ""}`);
    tell(tiles.gap, said(now.gap));
    if (now.hits) {
      tell(tiles.matched, said(now.matched));
      now.hits.forEach((each, side) => tell(tiles[`recall${side}`], `${percent(each / now.asked[side])} (${whole(each)})`));
      charts.recall.move(shift, now.hits.map((each, side) => each / now.asked[side]));
    }
    const bins = new Float64Array(BINS);
    if (charts.loss) {
      this.loss = loss(model, shift, temperature, Infinity, bins);
      tell(tiles.loss, said(this.loss, this.loss < 0.1 ? 5 : 4));
      this.landscape(state);
      charts.loss.move(shift, [this.loss]);
    }
    if (charts.accuracy) {
      const { right, flipped } = decisions(model, shift);
      tell(tiles.accuracy, percent(right / model.n));
      tell(tiles.flipped, `${whole(flipped)} of ${whole(model.n)}`);
      charts.accuracy.move(shift, [right / model.n]);
    }
    this.histograms(shift, bins);
  }

  /** The loss curve of a temperature: rough at once, exact in slices of a few milliseconds. */
  landscape({ temperature, shift }) {
    const { model, charts } = this, key = String(temperature);
    if (this.key === key) return;
    this.key = key;
    clearTimeout(this.timer);
    const cells = model.cosines.length, points = Math.ceil(model.shifts.length / STEP), size = model.cosines.shape[1] ** 2;
    const count = Math.max(1, Math.floor(4e5 / points / size)), exact = count >= cells / size;
    this.curve = roughCurve(model, temperature, shift, this.loss, STEP, count);
    this.best = exact ? lowest(model, temperature, this.curve, STEP) : null;
    this.plot();
    if (exact) return this.page.told();
    const whole = new Array(points);
    let k = 0;
    const slice = () => {
      for (const start = performance.now(); k < points && performance.now() - start < 10; k++) whole[k] = loss(model, model.shifts[k * STEP], temperature);
      if (k < points) return (this.timer = setTimeout(slice, 4));
      this.curve = whole;
      this.best = lowest(model, temperature, whole, STEP);
      this.plot();
      charts.loss.move(this.page.state.shift, [this.loss]);
      this.page.told();
    };
    this.timer = setTimeout(slice, 120);
  }

  plot() {
    const { model, charts, curve } = this, xs = curve.map((_, k) => model.shifts[k * STEP]);
    const end = model.closed, near = curve.filter((_, k) => xs[k] <= end), low = Math.min(...curve), most = Math.max(...near);
    const span = most - low || 1;
    charts.loss.draw([xs[0], model.shifts[model.shifts.length - 1]], [{ cls: "ink", xs, ys: curve }], { range: [low - 0.12 * span, most + 0.08 * span], minimum: this.goal()?.shift ?? null, word: this.best?.valley ? "valley" : "lowest" });
    tell(charts.loss.note, `temperature ${temperatureWords(this.page.state.temperature)}, ${this.lossNote}`);
  }

  /** Where the loss is lowest, or the valley before it where that is an end of the dial; nothing before it is known. */
  goal() {
    return this.best?.valley ?? this.best;
  }

  /** The least cosine, in tenths, that the ends of the dial and its middle show. */
  left() {
    const { model } = this, bins = new Float64Array(BINS);
    for (const shift of [-0.5, 0, model.closed, 2.5]) {
      for (const which of ["first", "last", ...(model.cosines ? ["matched"] : [])]) histogram(model, shift, which, bins);
      if (model.cosines) loss(model, shift, 0.1, 4, bins);
    }
    return Math.floor((bins.findIndex((each) => each > 0) / BINS) * 20) / 10 - 1;
  }

  histograms(shift, unmatched) {
    const { model, bars } = this, xs = Array.from({ length: BINS }, (_, k) => (2 * k + 1) / BINS - 1);
    const area = (cls, bins) => {
      const sum = 16 * bins.reduce((total, each) => total + each, 0) || 1, at = (k) => bins[k] || 0;
      const ys = xs.map((_, k) => (at(k - 2) + 4 * at(k - 1) + 6 * at(k) + 4 * at(k + 1) + at(k + 2)) / sum);
      return { cls, xs, ys, area: true };
    };
    const parts = ["first", "last"].map((which) => area(which, histogram(model, shift, which, new Float64Array(BINS))));
    if (model.cosines) parts.unshift(area("unmatched", unmatched), area("matched", histogram(model, shift, "matched", new Float64Array(BINS))));
    const top = Math.max(...parts.flatMap((part) => part.ys));
    this.top = this.top && top < this.top && top > 0.6 * this.top ? this.top : top * 1.15;
    bars.format = () => "";
    bars.draw([this.least ??= this.left(), 1], parts, { range: [0, this.top] });
    bars.cursor.remove();
  }

  /** Tells of a point: hovered, or chosen and then kept. */
  look(k, keep) {
    if (keep && k >= 0) this.page.set({ query: k });
    this.tellPoint(k >= 0 ? k : this.cloud.chosen ?? -1);
    this.page.later();
  }

  tellPoint(k) {
    const { model, info } = this, point = this.cloud.shown[k];
    if (this.told === k) return;
    this.told = k;
    if (!point) return info.replaceChildren(make("p", { class: "muted" }, `Hover or click ${this.cloud.shown.length < model.a.length + model.b.length ? `one of ${whole(this.cloud.shown.length)} points` : "a point"}${model.own.length ? ": its pair lights up" : ""}.`));
    const [side, i] = point, names = [model.first, model.last], picture = side === 0 ? model.pictures[i] : null;
    const own = [];
    for (let pair = 0; pair < model.own.length / 2; pair++) if (model.own[2 * pair + side] === i) own.push(model.own[2 * pair + 1 - side]);
    const lines = [make("p", {}, mark(side), strong(model.names[side][i]), model.captions[side].length ? [" “", bdi(model.captions[side][i]), "”"] : "")];
    if (own.length) {
      const at = model.queryRank[side].get(i), [before, after] = model.ranks[side].map((each) => each[at] + 1), total = [model.b, model.a][side].length;
      const words = (rank) => (rank === 1 ? "the nearest" : `the ${ordinal(rank)} nearest`);
      const best = model.best[side][0][at], mate = model.captions[1 - side].length ? ["“", bdi(model.captions[1 - side][best]), "”"] : bdi(model.names[1 - side][best]);
      lines.push(make("p", {}, mark(1 - side), own.length > 1 ? `The best of its ${own.length} ${plural(names[1 - side])}, ` : `Its ${names[1 - side]}, `, mate,
        `, is ${words(before)} of ${whole(total)} ${plural(names[1 - side])}, `, before === after ? "and stays so with the gap closed." : `${words(after)} with the gap closed.`));
    }
    info.replaceChildren(...(picture ? [make("img", { src: `data:image/jpeg;base64,${picture}`, alt: "", width: 72 })] : []), make("div", {}, lines));
  }
}

/** A slider with its value in words, and buttons for places worth going to. */
function dial(label, hint, { min, max, step }, set, stops) {
  const output = make("output", {}), input = make("input", { type: "range", min, max, step, "aria-label": label, oninput: () => set(Number(input.value)) });
  input.addEventListener("keydown", (event) => {
    const by = { PageUp: 10, PageDown: -10 }[event.key];
    if (!by) return;
    event.preventDefault();
    set(Math.max(min, Math.min(max, Number(input.value) + by * step)));
  });
  const buttons = make("span", { class: "stops" }, stops);
  const element = make("div", { class: "dial" }, make("div", { class: "dial-head" }, make("b", {}, label), output, make("span", { class: "muted hint" }, hint), buttons), input);
  return { element, input, output };
}

const button = (text, click, title = null) => make("button", { type: "button", onclick: click, title }, text);

/** What the numbers of a card mean, in sentences. */
function lead(model, brief) {
  const { first, last } = model, few = (measure, of) => model.card.find((row) => row.measure === measure && (!of || row.first === of));
  const value = (...key) => few(...key)?.value ?? null, gap = model.signed[place(model, 0)];
  const line = (...parts) => make("p", {}, parts);
  const found = [line("The ", many(model.n, first), " and ", many(model.m, last), " of ", strong(model.name), " lie ", strong(said(gap)),
    brief ? " apart." : " apart: that is the distance between their two centres on one sphere, where 0 is no gap and 2 the most there can be.",
    value("separability") === null ? "" : ` A plane tells which is which for ${percent(value("separability"))} of rows that it has not seen.`)];
  const own = value("matched_cosine"), within = [value("mean_cosine", first), value("mean_cosine", last)];
  if (own !== null && within[0] !== null) {
    const nearer = [first, last].filter((_, side) => own < within[side]);
    found.push(line("A pair has a cosine of ", strong(said(own)), ", two ", plural(first), " have ", strong(said(within[0])), " and two ", plural(last), " ", strong(said(within[1])), ". ",
      ["So a pair is closer than two strangers of one kind.", `So on average two ${plural(nearer[0] || first)} are closer than a pair.`, "So on average a stranger of the same kind is closer than the partner."][nearer.length]));
  }
  return found;
}

/** Before and after centring: the nearest rows of both modalities to a query. */
class Search {
  constructor(model, page) {
    Object.assign(this, { model, page });
    this.lists = ["before", "after"].map((key) => make("ol", { class: "nearest" }));
    this.about = make("p", { class: "query" });
    const { queries } = model.search, n = model.a.length, count = model.search.before.shape[1];
    const others = (key, side) => {
      let sum = 0, asked = 0;
      queries.forEach((query, q) => {
        if ((query < n ? 0 : 1) !== side) return;
        asked++;
        for (let k = 0; k < count; k++) sum += (model.search[key][q * count + k] < n ? 0 : 1) !== side ? 1 : 0;
      });
      return (sum / asked).toFixed(1);
    };
    const sentence = [0, 1].map((side) => {
      const [own, other] = side ? [model.last, model.first] : [model.first, model.last];
      return `Of the ${count} nearest to ${article(own)}, ${others("before", side)} are ${plural(other)}, and ${others("after", side)} after centring.`;
    }).join(" ");
    const move = (by) => () => page.set({ query: (page.state.query + by + queries.length) % queries.length });
    this.element = make("div", { class: "search" }, make("p", {}, sentence, ` (Mean of ${whole(queries.length)} queries.)`),
      make("div", { class: "row" }, this.about, make("span", { class: "stops" }, button("‹ previous", move(-1)), button("next ›", move(1)), button(`other kind`, () => page.set({ query: this.partner() })))),
      make("div", { class: "columns" }, ["As they are", "Each kind centred"].map((title, k) => make("div", {}, make("h4", {}, title), this.lists[k]))));
  }

  partner() {
    const { queries } = this.model.search, n = this.model.a.length, side = queries[this.page.state.query] < n ? 0 : 1;
    const half = queries.findIndex((each) => each >= n), at = this.page.state.query;
    return Math.min(queries.length - 1, side ? Math.min(half - 1, at - half) : at + half);
  }

  draw(query) {
    const { model, lists } = this, n = model.a.length, { search } = model, count = search.before.shape[1];
    if (this.query === query) return;
    this.query = query;
    const of = (row) => (row < n ? [0, row] : [1, row - n]);
    const [side, i] = of(search.queries[query]);
    const words = ([k, row]) => (model.captions[k].length ? model.captions[k][row] : model.names[k][row]);
    this.about.replaceChildren("Query: ", mark(side), strong(words([side, i])));
    const mates = new Set();
    for (let k = 0; k < model.own.length / 2; k++) if (model.own[2 * k + side] === i) mates.add(model.own[2 * k + 1 - side]);
    ["before", "after"].forEach((key, k) => {
      const items = Array.from({ length: count }, (_, rank) => {
        const [other, row] = of(search[key][query * count + rank]), own = other !== side && mates.has(row), picture = other === 0 ? model.pictures[row] : null;
        return make("li", { class: `${other ? "last" : "first"}${own ? " own" : ""}` }, mark(other), picture ? make("img", { src: `data:image/jpeg;base64,${picture}`, alt: "", height: 32 }) : null,
          make("span", { class: "what" }, bdi(words([other, row]))), own ? make("span", { class: "tag" }, "its pair") : null, make("span", { class: "number" }, said(search[`${key}_cosines`][query * count + rank])));
      });
      lists[k].replaceChildren(...items);
    });
  }
}

/** The dimensions that carry the gap; a click takes them away, from the left. */
class Dimensions {
  constructor(model, page) {
    Object.assign(this, { model, page });
    const { order } = model.ablated, squares = Array.from(model.gap, (each) => each * each), all = squares.reduce((sum, each) => sum + each, 0);
    this.shares = Array.from(order, (k) => squares[k] / all);
    const most = Math.max(...this.shares), rest = 1 - this.shares.reduce((sum, each) => sum + each, 0);
    this.bars = this.shares.map((share, k) => {
      const bar = make("button", { type: "button", class: "bar", "aria-label": `Dimension ${order[k]}, ${percent(share)} of the squared gap: remove the first ${k + 1}`,
        title: `dimension ${order[k]}: ${percent(share)} of the squared gap`, onclick: () => page.set({ removed: page.state.removed === k + 1 ? 0 : k + 1 }) }, make("i", {}), make("span", {}, String(order[k])));
      bar.firstChild.style.height = `${Math.max(1.5, (100 * share) / most)}%`;
      return bar;
    });
    this.words = make("p", { "aria-live": "polite" });
    this.element = make("div", { class: "dimensions" },
      make("p", {}, `The embedding has ${model.dim} dimensions. ${this.shares.length ? `The first bar carries ${percent(this.shares[0])} of the squared gap, these ${this.shares.length} together ${percent(1 - rest)}.` : ""} Click a bar to remove it and all to its left.`),
      make("div", { class: "strip", role: "group", "aria-label": "Dimensions, by their share of the squared gap" }, this.bars), this.words);
  }

  draw(removed) {
    const { distances, matched, order } = this.model.ablated, k = Math.min(removed, order.length);
    this.bars.forEach((bar, at) => bar.setAttribute("aria-pressed", at < k));
    const paired = matched.length ? `, the matched cosine is ${said(matched[k])} (${said(matched[0])} with all)` : "";
    tell(this.words, k ? `Without ${k === 1 ? `dimension ${order[0]}` : `these ${k} dimensions`}, rows made unit again, the gap is ${said(distances[k])} (${said(distances[0])} with all)${paired}.` : `With all dimensions the gap is ${said(distances[0])}${matched.length ? ` and the matched cosine ${said(matched[0])}` : ""}.`);
  }
}

/** Which classes lose and win decisions by a shift. */
class Classes {
  constructor(model) {
    this.model = model;
    this.words = make("p", { class: "flips" });
    this.table = make("table", { class: "compact" });
    this.element = make("div", {}, this.words, make("div", { class: "wide" }, this.table));
  }

  draw(shift) {
    const { model } = this, { names } = model.classes, here = decisions(model, shift), before = decisions(model, 0);
    tell(this.words, here.flipped ? `At shift ${said(here.shift, 2)}, ${whole(here.flipped)} of ${whole(model.n)} decisions are other ones, and accuracy goes from ${percent(before.right / model.n)} to ${percent(here.right / model.n)}.`
      : `At shift ${said(here.shift, 2)} every decision is as without a shift: accuracy ${percent(here.right / model.n)}. Drag the shift.`);
    const rows = here.moves.map(({ from, to, count }) => make("tr", {}, make("td", {}, bdi(names[from])), make("td", {}, "→ ", bdi(names[to])), make("td", { class: "number" }, whole(count))));
    while (rows.length < 8) rows.push(make("tr", {}, make("td", {}, "\u00a0"), make("td", {}), make("td", {})));
    this.table.replaceChildren(make("thead", {}, make("tr", {}, make("th", {}, "Decided"), make("th", {}, "Now"), make("th", { class: "number" }, "Rows"))), make("tbody", {}, rows));
  }
}

/** The card as a table, whatever rows it has. */
function card(models) {
  const hidden = new Set(["file"]), table = models.flatMap((model) => model.card.map((row) => ({ model, row })));
  if (!table.length) return null;
  const other = Object.keys(table[0].row).filter((key) => !hidden.has(key) && !["first", "last", "measure", "value", "low", "high", "interval", "n", "unit", "note"].includes(key) && table.some(({ row }) => row[key] !== null && row[key] !== ""));
  const named = { null: "95% of chance", p_value: "p" }; // of the columns that only some cards have
  const head = [...(models.length > 1 ? ["Set"] : []), "Measure", "Of", "Value", "95% interval", ...other.map((key) => named[key] || key.replaceAll("_", " ")), "n", "Unit", "Note"];
  const rows = table.map(({ model, row }) => {
    const of = row.first === row.last ? row.first : `${row.first}, ${row.last}`, words = row.measure.replaceAll("_", " ");
    const span = row.low === null || row.low === undefined ? "" : `${said(row.low, 4)} to ${said(row.high, 4)}`;
    const more = other.map((key) => make("td", {}, typeof row[key] === "number" ? said(row[key], 4) : String(row[key] ?? "")));
    return make("tr", {}, models.length > 1 ? make("td", {}, bdi(model.name)) : null, make("td", {}, words), make("td", {}, of), make("td", { class: "number" }, said(row.value, 4)),
      make("td", { class: "number" }, span, row.interval ? make("div", { class: "small muted" }, row.interval) : null), more, make("td", { class: "number" }, row.n === null ? "" : whole(row.n)), make("td", { class: "muted" }, row.unit || ""), make("td", { class: "muted remark" }, row.note || ""));
  });
  return make("div", { class: "wide numbers", tabindex: "0" }, make("table", {}, make("thead", {}, make("tr", {}, head.map((each) => make("th", { class: ["Value", "95% interval", "n"].includes(each) ? "number" : null, scope: "col" }, each)))), make("tbody", {}, rows)));
}

/** Which rows each number counts, in sentences. */
export function counted(model) {
  const { n, m, pairs, a, b, asked } = model, kinds = (one, other) => `${many(one, model.first)} and ${many(other, model.last)}`, found = [];
  found.push(`Gap distance, ablation${pairs ? ", matched cosine" : ""}${model.classes ? " and decisions" : ""}: all ${kinds(n, m)}.`);
  if (pairs) {
    const [batches, size] = model.batches.shape, of = (count) => `${whole(count)} of ${many(pairs, "pair")}`;
    found.push(`Loss: ${of(batches * size)}, in ${batches > 1 ? `batches of ${size}` : "one batch"}, none of which holds a row twice.`);
    found.push(`Recall: ${of(model.asked_pairs)}, ${kinds(...asked)} that differ.`, `Picture, cosines, ranks: ${of(model.own.length / 2)}, ${kinds(a.length, b.length)} that differ.`);
  } else if (a.length < n || b.length < m) found.push(`Picture and search: ${kinds(a.length, b.length)} that differ.`);
  return found;
}

/** Where the rows come from and what was done with them. */
function provenance(model) {
  const words = (value) => (typeof value === "string" ? value : Array.isArray(value) ? value.map(words).join(", ") : value && typeof value === "object" ? Object.entries(value).map(([key, each]) => `${key} ${words(each)}`).join(", ") : String(value));
  const norms = model.norms.map((span, side) => [side ? model.last : model.first, span]);
  const notes = [...model.notes];
  notes.push(...counted(model));
  const rows = [...Object.entries(model.about).filter(([, value]) => words(value).length && words(value) !== "[]"), ...norms.map(([name, [low, high]]) => [`norms of ${name}`, `${said(low, 4)} to ${said(high, 4)}`]), ...notes.map((each) => ["note", each])];
  return make("dl", { class: "about" }, rows.flatMap(([key, value]) => [make("dt", {}, key.replaceAll("_", " ")), make("dd", {}, bdi(words(value)))]));
}

/** Where the loss is lowest, and how far above it the place of the dial is. */
export function lossWords(best, here, temperature, gap) {
  const at = ({ shift }) => `shift ${said(shift, 2)}, where the gap is ${said(gap(shift))}`, of = `At temperature ${temperatureWords(temperature)} the loss`;
  if (best.end) return [`${of} is lowest at the end of the dial, ${at(best)}.`, ...(best.valley ? [`Within the dial it has a valley at ${at(best.valley)}.`] : [])];
  const off = here - best.loss;
  return [`${of} is lowest at ${at(best)}${off > 5e-4 ? `: ${said(off)} nats below where you are` : ". You are there, to 0.0005 nats"}.`];
}

/** The whole page: state, dials, and all that listens to them. */
class Page {
  constructor(root, content) {
    Object.assign(this, { root, models: content.models, waiting: false });
    for (const model of this.models) {
      const n = model.a.length, ranks = [new Map(), new Map()];
      Array.from(model.search.queries).forEach((each) => { const side = each < n ? 0 : 1; ranks[side].set(side ? each - n : each, ranks[side].size); });
      model.queryRank = ranks;
    }
    const [model] = this.models;
    this.start = { shift: 0, temperature: model.temperature, view: "pca", query: this.telling(model), removed: 0, theme: framed() };
    this.state = { ...this.start };
    this.running = {};
    this.waiting = true; // nothing is drawn before it is built
    this.set(this.read());
    this.waiting = false;
    const several = this.models.length > 1, losing = this.models.findIndex((each) => each.cosines), leading = this.models[Math.max(0, losing)];
    this.leading = leading;
    const low = model.shifts[0], high = model.shifts[model.shifts.length - 1], stop = (words, shift) => button(words, () => this.glide(shift));
    const shifts = [stop("as is", 0), stop("gap closed", leading.closed)];
    if (losing >= 0) shifts.splice(1, 0, button("lowest loss", () => { const goal = this.views[losing].goal(); if (goal) this.glide(goal.shift); }));
    shifts.push(button("▶ play", () => this.play(), "To the closed gap and back"));
    this.shift = dial("Shift", several ? ["both kinds along their gap. Buttons: places of ", bdi(leading.name)] : "moves both kinds along the gap", { min: low, max: high, step: 0.01 }, (shift) => this.set({ shift }), shifts);
    const [cold, hot] = [-2.3, 0], heats = [["1/100", 0.01], ["1/50", 0.02], ["1/20", 0.05], ["1", 1]].map(([words, temperature]) => button(words, () => this.warm(temperature)));
    this.heat = dial("Temperature", "", { min: cold, max: hot, step: 0.005 }, (power) => this.set({ temperature: 10 ** power }), heats);
    this.sentence = make("div", { class: "verdict", "aria-live": "polite" });
    this.views = this.models.map((each) => new View(each, this));
    this.parts = { search: [], dimensions: [], classes: [] };
    this.build();
    this.layout();
    new ResizeObserver(() => this.resized()).observe(root);
    addEventListener("hashchange", () => this.set(this.read()));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.set({}, true));
    matchMedia("print").addEventListener("change", () => { this.restyle = true; this.draw(); });
  }

  /** The query whose nearest rows centring changes most: one of another kind counts. */
  telling(model) {
    const { queries, before, after } = model.search, n = model.a.length, count = before.shape[1];
    const others = (q, list) => list.subarray(q * count, (q + 1) * count).reduce((sum, row) => sum + ((row < n) !== (queries[q] < n) ? 1 : 0), 0);
    let best = [-Infinity, 0];
    for (let q = 0; q < queries.length; q++) {
      const gained = others(q, after) - others(q, before);
      if (gained > best[0]) best = [gained, q];
    }
    return best[1];
  }

  build() {
    const { models } = this, paired = models.some((model) => model.cosines), several = models.length > 1;
    const section = (title, id, ...parts) => make("section", { class: "text", id }, make("h2", {}, title), parts);
    const each = (key, kind) => models.filter((model) => key !== "classes" || model.classes).map((model) => {
      const part = new kind(model, this);
      this.parts[key].push(part);
      return make("div", {}, several ? make("h3", {}, bdi(model.name)) : null, part.element);
    });
    this.code = make("pre", { tabindex: "0", "aria-label": "Python that computes what the page shows" });
    this.copied = make("span", { class: "muted", role: "status" });
    const theme = button("", () => this.set({ theme: this.dark() ? "light" : "dark" }));
    this.themeButton = theme;
    const parts = [
      make("header", {}, make("div", { class: "top" }, make("p", { class: "eyebrow" }, "The modality gap"), theme),
        make("h1", {}, "Drag the gap"), models.map((model, k) => make("div", { class: "lead" }, lead(model, k > 0)))),
      make("div", { class: `dials${paired ? "" : " one"}` }, this.shift.element, paired ? this.heat.element : null),
      make("div", { class: `models of${models.length}` }, this.views.map((view) => view.element)),
      this.sentence,
    ];
    if (models.some((model) => model.classes)) parts.push(section("Which decisions flip", "classes", each("classes", Classes)));
    parts.push(section("Who wins in a mixed search", "search", make("p", { class: "muted" }, "One index holds both kinds. With a gap, a query finds its own kind first, whatever it asks. Centring takes the mean of each kind off its rows."), each("search", Search)),
      section("Where the gap lies", "dimensions", each("dimensions", Dimensions)),
      make("section", { class: "text broad", id: "card" }, make("h2", {}, "Every number"), card(models)),
      section("The same in Python", "python", make("div", { class: "row" }, button("Copy", () => this.copy()), this.copied), this.code),
      section("Where it comes from", "provenance", models.map((model) => provenance(model))));
    this.root.replaceChildren(...parts);
  }

  dark() {
    return this.state.theme ? this.state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  /** Changes the state; the page is drawn once a frame. What somebody moves is no longer moved by itself. */
  set(change, restyle = false) {
    for (const key of Object.keys(change)) cancelAnimationFrame(this.running[key]);
    this.move(change);
    if (restyle || change.theme !== undefined) this.restyle = true;
  }

  /** Changes the state within its bounds. */
  move(change) {
    const [model] = this.models, [low, high, cold] = [model.shifts[0], model.shifts[model.shifts.length - 1], 0.005];
    const within = { shift: [low, high, 100], temperature: [cold, 1, 0], query: [-1, Math.max(...this.models.map((each) => each.search.queries.length)) - 1, 1], removed: [0, Math.max(...this.models.map((each) => each.ablated.order.length)), 1] };
    for (const [key, [least, most, grid]] of Object.entries(within)) {
      if (change[key] === undefined) continue;
      const value = Math.max(least, Math.min(most, change[key]));
      change[key] = grid ? Math.round(grid * value) / grid : value;
    }
    Object.assign(this.state, change);
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const { state } = this;
    document.documentElement.dataset.theme = state.theme || (this.dark() ? "dark" : "light");
    if (this.restyle) { this.restyle = false; this.views.forEach((view) => view.layout()); }
    tell(this.themeButton, this.dark() ? "Light" : "Dark");
    this.themeButton.setAttribute("aria-label", this.dark() ? "Light colours" : "Dark colours");
    this.shift.input.value = state.shift;
    this.shift.input.setAttribute("aria-valuetext", said(state.shift, 2));
    tell(this.shift.output, said(state.shift, 2));
    this.heat.input.value = Math.log10(state.temperature);
    this.heat.input.setAttribute("aria-valuetext", temperatureWords(state.temperature));
    tell(this.heat.output, temperatureWords(state.temperature));
    for (const view of this.views) {
      view.cloud.chosen = Math.min(state.query, view.cloud.shown.length - 1);
      view.draw(state);
      view.tellPoint(view.cloud.hovered >= 0 ? view.cloud.hovered : view.cloud.chosen);
    }
    this.parts.search.forEach((part) => part.draw(Math.min(state.query, part.model.search.queries.length - 1)));
    this.parts.dimensions.forEach((part) => part.draw(state.removed));
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settle(), 150);
  }

  /** What follows when the dials come to rest: sentences, the code, the address. */
  settle() {
    const { state } = this;
    this.parts.classes.forEach((part) => part.draw(state.shift));
    tell(this.code, this.models.map((model) => python(model, { ...state, temperature: Number(state.temperature.toPrecision(6)) })).join("\n\n"));
    this.told();
    const kept = { shift: state.shift, t: Number(state.temperature.toPrecision(6)), view: state.view, query: state.query, removed: state.removed, theme: state.theme };
    const hash = Object.entries(kept).filter(([key, value]) => value !== "" && (value !== 0 || key === "query")).map(([key, value]) => `${key}=${value}`).join("&");
    if (!location.protocol.startsWith("http") && location.protocol !== "file:") return;
    try { history.replaceState(null, "", `#${hash}`); } catch { /* an iframe without an address */ }
  }

  /** The sentence under the picture. */
  told() {
    this.sentence.replaceChildren(...this.views.map((view) => make("p", {}, this.words(view, this.state, view.best))));
  }

  words({ model, loss: here }, { shift, temperature }, best) {
    const now = numbers(model, shift), before = numbers(model, 0), parts = [];
    if (this.models.length > 1) parts.push(bdi(model.name), ": ");
    parts.push(shift === 0 ? `As they are, the gap is ${said(now.gap)}.` : `At shift ${said(shift, 2)} the gap is ${said(now.gap)} instead of ${said(before.gap)}.`);
    if (model.cosines && best) parts.push(...lossWords(best, here, temperature, (at) => numbers(model, at).gap).map((each) => ` ${each}`));
    const went = (name, ...pairs) => ` ${name} goes from ${pairs.map(([from, to]) => `${percent(from)} to ${percent(to)}`).join(" and from ")}.`;
    if (model.classes && shift !== 0) parts.push(went("Accuracy", [decisions(model, 0).right / model.n, decisions(model, shift).right / model.n]));
    if (now.hits && shift !== 0) parts.push(went("Recall@1", ...[0, 1].map((side) => [before.hits[side] / now.asked[side], now.hits[side] / now.asked[side]])));
    return parts;
  }

  /** Room for the longest sentence, so that nothing below it moves. */
  reserve() {
    const longest = { shift: -0.5, end: true, valley: { shift: -0.5 } };
    this.sentence.style.minHeight = "";
    this.sentence.replaceChildren(...this.views.map((view) => make("p", {}, this.words(view, { shift: -0.5, temperature: 0.0123 }, longest))));
    this.sentence.style.minHeight = `${Math.ceil(this.sentence.getBoundingClientRect().height)}px`;
    this.told();
  }

  layout() {
    this.views.forEach((view) => view.layout());
    this.reserve();
    this.later();
  }

  resized() {
    const width = this.root.clientWidth;
    if (width === this.width) return;
    this.width = width;
    this.layout();
  }

  /** Moves one part of the state over a time, or at once where motion is not wanted. */
  animate(key, seconds, at) {
    cancelAnimationFrame(this.running[key]);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.move({ [key]: at(1) });
    const start = performance.now(), frame = (now) => {
      const part = Math.min(1, (now - start) / (1000 * seconds));
      this.move({ [key]: at(part) });
      if (part < 1) this.running[key] = requestAnimationFrame(frame);
    };
    this.running[key] = requestAnimationFrame(frame);
  }

  glide(to) {
    const from = this.state.shift, ease = (part) => (part < 0.5 ? 2 * part * part : 1 - 2 * (1 - part) ** 2);
    this.animate("shift", 0.9, (part) => from + (to - from) * ease(part));
  }

  warm(to) {
    const from = Math.log(this.state.temperature), end = Math.log(to);
    this.animate("temperature", 0.9, (part) => (part === 1 ? to : Math.exp(from + (end - from) * part)));
  }

  /** To the closed gap and back; without motion there, or back. */
  play() {
    const from = this.state.shift, { closed } = this.leading;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.glide(from === closed ? 0 : closed);
    this.animate("shift", 7, (part) => from + ((closed - from) * (1 - Math.cos(2 * Math.PI * part))) / 2);
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.code.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(this.code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand?.("copy")) return tell(this.copied, "Selected: press Ctrl+C");
    }
    tell(this.copied, "Copied");
    setTimeout(() => tell(this.copied, ""), 2000);
  }

  /** Takes the state from the address; what it does not say is as on start. */
  read() {
    const words = new URLSearchParams(location.hash.slice(1)), found = { ...this.start };
    for (const [key, name] of [["shift", "shift"], ["t", "temperature"], ["query", "query"], ["removed", "removed"]])
      if (words.get(key) && Number.isFinite(Number(words.get(key)))) found[name] = Number(words.get(key));
    if (["pca", "umap"].includes(words.get("view"))) found.view = words.get("view");
    if (["light", "dark"].includes(words.get("theme"))) found.theme = words.get("theme");
    return found;
  }
}

/** Figure 3 (e): pairs on a sphere whose texts move along their meridians, and how many of them are mismatched. */
class Sphere {
  constructor(root, content) {
    Object.assign(this, { root, n: content.sphere.pairs, spacing: content.sphere.spacing, turn: -0.25 });
    this.state = { angle: 40, temperature: 0.02, count: 2 };
    this.angles = Array.from({ length: 181 }, (_, k) => k - 90);
    this.canvas = make("canvas", { class: "cloud sphere", tabindex: "0", role: "img", "aria-label": "A sphere with images on its equator and texts on their meridians. Arrow keys turn it." });
    const set = (change) => { Object.assign(this.state, change); requestAnimationFrame(() => this.draw()); };
    this.chart = new Chart("Contrastive loss", 260, { drag: (angle) => set({ angle: Math.round(Math.max(-90, Math.min(90, angle))) }), label: "Contrastive loss at every angle of the texts" });
    this.angle = dial("Texts, degrees", "along their meridians", { min: -90, max: 90, step: 1 }, (angle) => set({ angle }), [button("lowest loss", () => set({ angle: this.best }))]);
    this.heat = dial("Temperature", "of the loss", { min: -2.3, max: 0, step: 0.005 }, (power) => set({ temperature: 10 ** power }), [["1/100", 0.01], ["1/50", 0.02], ["1/20", 0.05], ["1", 1]].map(([words, temperature]) => button(words, () => set({ temperature }))));
    this.mismatch = dial("Mismatched pairs", `of ${this.n}`, { min: 0, max: this.n, step: 1 }, (count) => set({ count: count === 1 ? (this.state.count > 1 ? 0 : 2) : count }), []);
    this.words = make("p", { class: "verdict", "aria-live": "polite" });
    root.replaceChildren(make("div", { class: "dials three" }, this.angle.element, this.heat.element, this.mismatch.element),
      make("div", { class: "stage globe" }, make("div", { class: "left" }, this.canvas), make("div", { class: "right" }, this.chart.element, this.words)));
    const turn = (by) => { this.turn += by; requestAnimationFrame(() => this.draw()); };
    this.canvas.addEventListener("pointermove", (event) => event.buttons && turn(event.movementX / 150));
    this.canvas.addEventListener("keydown", (event) => { const by = { ArrowLeft: -0.1, ArrowRight: 0.1 }[event.key]; if (by) { event.preventDefault(); turn(by); } });
    new ResizeObserver(() => this.draw()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  draw() {
    const { state, chart, angles } = this, textOf = mismatched(this.n, state.count), radians = Math.PI / 180;
    const curve = angles.map((angle) => sphereLoss(this.spacing, textOf, angle * radians, state.temperature));
    const least = Math.min(...curve), here = sphereLoss(this.spacing, textOf, state.angle * radians, state.temperature);
    this.best = Math.abs(angles.find((_, k) => curve[k] <= least + 1e-9));
    document.documentElement.dataset.theme = framed() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    chart.draw([-90, 90], [{ cls: "ink", xs: angles, ys: curve }], { minimum: this.best });
    chart.move(state.angle, [here]);
    for (const [control, value, words] of [[this.angle, state.angle, `${said(state.angle, 0)}°`], [this.heat, Math.log10(state.temperature), temperatureWords(state.temperature)], [this.mismatch, state.count, String(state.count)]]) {
      control.input.value = value;
      control.input.setAttribute("aria-valuetext", words);
      tell(control.output, words);
    }
    tell(this.words, this.best ? `With ${state.count} of ${this.n} pairs mismatched and temperature ${temperatureWords(state.temperature)}, the loss is lowest with the texts ${this.best}° away: a gap pays.` : `With ${state.count} of ${this.n} pairs mismatched and temperature ${temperatureWords(state.temperature)}, the loss is lowest without a gap.`);
    this.globe(textOf);
  }

  globe(textOf) {
    const { canvas, turn, spacing, n } = this, ratio = Math.min(2, window.devicePixelRatio || 1), { clientWidth: w, clientHeight: h } = canvas;
    canvas.width = w * ratio;
    canvas.height = h * ratio;
    const pen = canvas.getContext("2d"), style = getComputedStyle(canvas), [first, last, ink, line, bg] = ["--first", "--last", "--ink", "--line", "--bg"].map((name) => style.getPropertyValue(name));
    const radius = 0.42 * Math.min(w, h), tilt = 0.42, radians = Math.PI / 180;
    const at = (longitude, latitude) => {
      const x = Math.cos(latitude) * Math.sin(longitude + turn), y = Math.sin(latitude), z = Math.cos(latitude) * Math.cos(longitude + turn);
      return [w / 2 + radius * x, h / 2 - radius * (y * Math.cos(tilt) - z * Math.sin(tilt)), z * Math.cos(tilt) + y * Math.sin(tilt)];
    };
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = bg;
    pen.strokeStyle = line;
    pen.beginPath();
    pen.arc(w / 2, h / 2, radius, 0, 7);
    pen.fill();
    pen.stroke();
    const path = (points) => points.forEach(([x, y, z], k) => {
      if (!k) return;
      pen.globalAlpha = z > 0 ? 1 : 0.3;
      pen.beginPath();
      pen.moveTo(points[k - 1][0], points[k - 1][1]);
      pen.lineTo(x, y);
      pen.stroke();
    });
    const circle = Array.from({ length: 73 }, (_, k) => k * 5 * radians);
    for (const latitude of [-60, -30, 0, 30, 60]) path(circle.map((each) => at(each, latitude * radians)));
    for (let k = 0; k < 6; k++) path(circle.map((each) => at(k * 30 * radians, each)));
    const longitude = (k) => (k - (n - 1) / 2) * spacing * radians, latitude = -this.state.angle * radians;
    const dots = Array.from({ length: n }, (_, k) => [[at(longitude(k), 0), 0], [at(longitude(k), latitude), 1]]).flat();
    pen.lineWidth = 1.6;
    textOf.forEach((text, k) => {
      pen.strokeStyle = text === k ? first : last;
      pen.setLineDash(text === k ? [] : [5, 3]);
      const from = at(longitude(k), 0), to = at(longitude(text), latitude);
      path([from, to]);
    });
    pen.setLineDash([]);
    for (const [[x, y, z], side] of dots.sort((p, q) => p[0][2] - q[0][2])) {
      pen.globalAlpha = z > 0 ? 1 : 0.35;
      pen.fillStyle = side ? last : first;
      pen.strokeStyle = bg;
      pen.beginPath();
      if (side) pen.rect(x - 5, y - 5, 10, 10); else pen.arc(x, y, 6.5, 0, 7);
      pen.fill();
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.fillStyle = ink;
  }
}

if (typeof document !== "undefined" && document.getElementById("data")) {
  const content = prepare(decode(document.getElementById("data").textContent)), root = document.getElementById("explorer");
  window.explorer = content.models ? new Page(root, content) : new Sphere(root, content);
}
