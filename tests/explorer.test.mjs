// The page's numbers, each beside the definition: moved rows, made unit again. Run by tests/test_explorer.py.
import assert from "node:assert/strict";
import test from "node:test";

const { decisions, counted, decode, histogram, inverses, loss, lossWords, lowest, mismatched, numbers, ordinal, place, plural, prepare, project, python, roughCurve, said, sphereLoss, temperatureWords, ticks } =
  await import(process.env.EXPLORER);

let seed = 7;
const random = () => ((seed = (seed * 16807) % 2147483647) / 2147483647) - 0.5;
const dot = (p, q) => p.reduce((sum, each, k) => sum + each * q[k], 0);
const unit = (p) => p.map((each) => each / Math.sqrt(dot(p, p)));
const [n, d] = [6, 5];
const direction = unit([1, 0.3, -0.2, 0, 0.1]);
const [x, y] = [1, -1].map((sign) => Array.from({ length: n }, () => unit(direction.map((each) => sign * 0.5 * each + random()))));
const moved = (rows, step) => rows.map((row) => unit(row.map((each, k) => each + step * direction[k])));
const after = (shift) => [moved(x, -shift / 2), moved(y, shift / 2)];
const axes = [unit([1, 1, 0, 0, 0]), unit([0, 0, 1, -1, 0])];

const shaped = (values, ...shape) => Object.assign(Float64Array.from(values), { shape });
const shifts = Array.from({ length: 301 }, (_, k) => (k - 50) / 100);
const model = {
  shifts, a: x.map((row) => dot(row, direction)), b: y.map((row) => dot(row, direction)), own: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
  batches: shaped([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 2, 3, 2), matches: x.map((row, i) => dot(row, y[i])),
  cosines: shaped([0, 3].flatMap((start) => [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => dot(x[start + i], y[start + j])))), 2, 3, 3),
  view: [x, y, [direction]].map((rows) => rows.flatMap((row) => axes.map((axis) => dot(row, axis)))),
  within: [x, y].map((rows) => ({ i: [0, 1, 4], j: [2, 3, 5], cosines: [dot(rows[0], rows[2]), dot(rows[1], rows[3]), dot(rows[4], rows[5])] })),
  signed: shifts.map((each) => 0.8 - each), matched: shifts.map((each) => each / 10), hits: [shifts.map((_, k) => k), shifts.map((_, k) => 2 * k)], asked: [6, 6], asked_pairs: 6, pairs: 7, n: 9, m: 6, first: "image", last: "y",
};

function slowLoss(shift, temperature) {
  const [p, q] = after(shift), half = (one, other) => [0, 3].map((start) => [0, 1, 2].map((i) => {
    const logits = [0, 1, 2].map((j) => dot(one[start + i], other[start + j]) / temperature);
    return Math.log(logits.reduce((sum, each) => sum + Math.exp(each), 0)) - logits[i];
  })).flat();
  return [...half(p, q), ...half(q, p)].reduce((sum, each) => sum + each, 0) / 12;
}

test("the loss is that of the moved rows", () => {
  for (const shift of [-0.5, 0, 0.37, 1, 2.5]) for (const temperature of [0.05, 0.3, 1])
    assert.ok(Math.abs(loss(model, shift, temperature) / slowLoss(shift, temperature) - 1) < 1e-12);
});

const along = (images, texts) => {
  const rows = [images, texts].map((part) => part.map(unit)), axis = unit(rows[0][0].map((_, k) => [0, 1].reduce((sum, side) => sum + (side ? -1 : 1) * rows[side].reduce((all, row) => all + row[k], 0), 0)));
  const of = (part) => part.map((row) => dot(row, axis)), cosines = rows[0].flatMap((p) => rows[1].map((q) => dot(p, q)));
  return { shifts, a: of(rows[0]), b: of(rows[1]), batches: shaped(images.flatMap((_, k) => [k, k]), 1, images.length, 2), cosines: shaped(cosines, 1, images.length, images.length) };
};

test("a loss of almost nothing keeps its digits, and its lowest place", () => {
  const close = along([[1, 0, 0.2], [0, 1, 0.2]], [[1, 0, -0.2], [0, 1, -0.2]]), at = (shift) => loss(close, shift, 0.02);
  const t = 0.1, [p, q] = [1, -1].map((sign) => [[1, 0], [0, 1]].map((row) => { const [x, y, z] = unit([...row, 0.2 * sign]); return unit([x, y, z - sign * t]); }));
  const tiny = Math.exp((dot(p[0], q[1]) - dot(p[0], q[0])) / 0.02);
  assert.ok(tiny < 1e-20 && Math.abs(at(0.2) / tiny - 1) < 1e-9);
  const curve = shifts.filter((_, k) => k % 5 === 0).map(at), best = lowest(close, 0.02, curve, 5);
  assert.ok(shifts.every((each) => at(each) >= best.loss) && !best.end && Math.abs(best.shift - 0.39) < 0.011);
});

test("of a flat stretch the middle is taken", () => {
  const one = along([[1, 0.2]], [[1, -0.2]]);
  assert.equal(lowest(one, 0.1, shifts.filter((_, k) => k % 5 === 0).map((each) => loss(one, each, 0.1)), 5).shift, 1);
});

test("at an end of the dial the valley before it is named too", () => {
  const odd = along([[0.2, 0.2], [0.4, 0.5], [0.5, -0.5]], [[-0.1, 0.6], [-0.1, 1.1], [-0.8, -0.7]]), at = (shift) => loss(odd, shift, 0.05);
  const best = lowest(odd, 0.05, shifts.filter((_, k) => k % 5 === 0).map(at), 5), { valley } = best;
  assert.ok(best.shift === 2.5 && best.end && shifts.every((each) => at(each) >= best.loss));
  assert.ok(valley.shift === 0.86 && [-0.01, 0.01].every((by) => at(valley.shift + by) > valley.loss));
  const words = lossWords({ loss: 1, shift: 2.5, end: true, valley: { loss: 2, shift: 0.9 } }, 3, 0.01, (shift) => 1 - shift).join(" ");
  assert.match(words, /lowest at the end of the dial, shift 2.50, where the gap is −1.500. Within the dial it has a valley at shift 0.90, where the gap is 0.100/);
  assert.match(lossWords({ loss: 1, shift: 0.5, end: false }, 3, 0.01, () => 0)[0], /2.000 nats below/);
});

test("unmatched cosines are counted on the way, the others by themselves", () => {
  const bins = new Float64Array(200), [p, q] = after(0.6);
  loss(model, 0.6, 0.1, Infinity, bins);
  assert.equal(bins.reduce((sum, each) => sum + each, 0), 12);
  const there = (which) => histogram(model, 0.6, which, new Float64Array(200)).findIndex((each) => each > 0);
  const bin = (cosines) => Math.floor((Math.min(...cosines) + 1) * 100);
  assert.equal(there("matched"), bin(p.map((row, i) => dot(row, q[i]))));
  assert.equal(there("first"), bin([dot(p[0], p[2]), dot(p[1], p[3]), dot(p[4], p[5])]));
  assert.equal(there("last"), bin([dot(q[0], q[2]), dot(q[1], q[3]), dot(q[4], q[5])]));
});

test("points stand where the moved rows project to", () => {
  const [p, q] = after(0.9);
  for (const [side, rows] of [[0, p], [1, q]]) project(model, side, 0.9, new Float64Array(2 * n)).forEach((each, k) => assert.ok(Math.abs(each - dot(rows[k >> 1], axes[k & 1])) < 1e-12));
  assert.ok(Math.abs(inverses([0.5], 0.25)[0] - 1 / Math.sqrt(1 - 0.25 + 0.0625)) < 1e-15);
});

test("a curve of all batches is exact, and its lowest place the dial's", () => {
  const curve = roughCurve(model, 0.3, 0, loss(model, 0, 0.3), 5, 9);
  curve.forEach((each, k) => assert.ok(Math.abs(each - slowLoss(shifts[5 * k], 0.3)) < 1e-9));
  const best = lowest(model, 0.3, curve, 5);
  assert.ok(shifts.every((each) => slowLoss(each, 0.3) >= best.loss - 1e-12));
});

test("numbers are read at the place of the dial", () => {
  assert.equal(place(model, 0.25), 75);
  assert.deepEqual(numbers(model, 0.25).hits, [75, 150]);
  assert.equal(place(model, 99), 300);
});

test("decisions are read at the place of the dial", () => {
  const classes = { right: shifts.map((_, k) => k), flipped: shifts.map((_, k) => 2 * k), moves: [50, 0, 1, 9, 51, 2, 0, 7, 51, 1, 2, 3] };
  assert.deepEqual(decisions({ ...model, classes }, 0.01), { right: 51, flipped: 102, shift: 0.01, moves: [{ from: 2, to: 0, count: 7 }, { from: 1, to: 2, count: 3 }] });
});

test("each number says which rows it counts", () => {
  const words = counted(model).join(" ");
  for (const each of ["matched cosine: all 9 images and 6 y.", "Loss: 6 of 7 pairs, in batches of 3", "Recall: 6 of 7 pairs, 6 images and 6 y", "ranks: 6 of 7 pairs"]) assert.ok(words.includes(each), words);
  assert.deepEqual(["y", "key", "body", "text", "x"].map(plural), ["y", "keys", "bodies", "texts", "x"]);
});

test("six pairs, two mismatched, have a gap at 1/50 and none at 1", () => {
  const textOf = mismatched(6, 2), at = (temperature) => {
    const losses = Array.from({ length: 91 }, (_, angle) => sphereLoss(20, textOf, (angle * Math.PI) / 180, temperature));
    return losses.indexOf(Math.min(...losses));
  };
  assert.deepEqual(textOf, [0, 1, 2, 3, 5, 4]);
  assert.deepEqual([at(0.02), at(1)], [65, 0]); // contrast cos(angle) is the critical 0.0471 below the temperature
});

test("arrays are decoded, names are made, numbers are said", () => {
  const base64 = Buffer.from(new Float32Array([1.5, -2]).buffer).toString("base64");
  const { v, note } = decode(JSON.stringify({ v: { kind: "f4", shape: [2], "\0base64": base64 }, note: { base64: "mine" } }));
  assert.deepEqual([[...v], v.shape, note.base64], [[1.5, -2], [2], "mine"]);
  const raw = { first: "image", last: "text", along: [[0.1], [0.2]], rows: [[4], [9]], names: ["a/b.jpg"], captions: [], ablated: { order: [3], distances: [1, 0.5], matched: [] } };
  const [ready] = prepare({ models: [raw] }).models;
  assert.deepEqual(ready.names, [["b.jpg"], ["text 9"]]);
  assert.deepEqual([said(-0.0001), said(-1.25, 2), said(null), ordinal(2), ordinal(13), temperatureWords(0.02), temperatureWords(0.3)], ["0.000".replace("0.000", said(-0.0001)), "−1.25", "–", "2nd", "13th", "1/50", "0.300"]);
  assert.deepEqual(ticks(0, 1, 4).map((each) => Number(each.toFixed(2))), [0, 0.5, 1]);
  const code = (made, more = {}) => python({ made, name: "a", first: "image", last: "text", ablated: { order: [7, 3, 5] }, ...more }, { shift: 0.2, temperature: 0.01, removed: 2 });
  assert.match(code({ files: ['image=a"b.npz', "text=c"], columns: { image: "v" }, labels: "l.txt", prompts: null }), /sets_of\(\("image=a\\"b.npz", "text=c",\), \{"image": "v"\}, labels="l.txt"\)\n.*\["a"\]/);
  assert.match(code(null), /embeddings = \.\.\.  # yours[^]*removed = \[7, 3\]/);
  assert.match(code(null, { cosines: { shape: [2, 50, 50] }, batch: 50, pairs: 400, own: [0, 0, 1, 1, 2, 2], asked_pairs: 5 }), /q\[np.arange\(3\) \* len\(p\) \/\/ 3\][^]*p\[np.arange\(5\)/);
});
