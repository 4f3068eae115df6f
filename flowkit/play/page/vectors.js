// Draws of a flow of vectors over rows of a table: two columns at a time, and what the flow says of one draw.

import { Flow, read } from "./flow.js";
import { histogram } from "./pictures.js";

const $ = (id) => document.getElementById(id);
const SIDE = 672, DOT = 4, ROOM = 0.15; // pixels, and what is left free on each side, as a part of the range
let flow, meta, size, rows, latents, z, draws, picked = 0, changed = false, drawing = false;

function say(sentence) {
  $("message").textContent = sentence;
  $("message").hidden = !sentence;
}

const floats = async (name) => new Float32Array(await read(name));
const columns = () => [Number($("across").value), Number($("up").value)];
const one = (table, row) => table.subarray(row * size, (row + 1) * size);

// At most one question at a time: what was changed meanwhile is answered once, after it.
function redraw() {
  changed = true;
  if (drawing) return;
  drawing = (async () => {
    while (changed) {
      changed = false;
      try {
        await decode();
        paint();
        await describe();
        say("");
      } catch (error) {
        say(error.message);
      }
    }
    drawing = false;
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
  })();
}

async function decode() {
  const scale = Number($("scale").value);
  $("scale").nextElementSibling.value = scale.toFixed(2);
  z = latents.map((part) => scale * part);
  [draws] = await flow.ask(flow.decoder, z, [meta.draws, ...meta.latents], []);
}

// Lowest and highest number of a column in the picture: those of the rows but for a few, and some room.
function range(column) {
  const sorted = Float32Array.from({ length: meta.rows }, (_, row) => one(rows, row)[column]).sort();
  const low = sorted[Math.floor(0.005 * meta.rows)], high = sorted[Math.ceil(0.995 * meta.rows) - 1];
  const room = ROOM * (high - low) || 1;
  return [low - room, high + room];
}

// Where a row of a table is in the picture; rows of one column lie below each other.
function places(table, count) {
  const [[left, right], [low, high]] = columns().map(range);
  return Array.from({ length: count }, (_, row) => {
    const [x, y] = columns().map((column) => one(table, row)[column]);
    const up = size === 1 ? (row + 0.5) / count : (y - low) / (high - low);
    return [((x - left) / (right - left)) * SIDE, (1 - up) * SIDE];
  });
}

function paint() {
  const canvas = $("plot"), draw = canvas.getContext("2d"), style = getComputedStyle(document.body);
  canvas.width = canvas.height = SIDE;
  for (const [table, count, colour] of [[rows, meta.rows, "--bar"], [draws, meta.draws, "--mark"]]) {
    draw.fillStyle = style.getPropertyValue(colour);
    for (const [x, y] of places(table, count)) draw.fillRect(x - DOT / 2, y - DOT / 2, DOT, DOT);
  }
  const [x, y] = places(draws, meta.draws)[picked];
  draw.strokeStyle = style.getPropertyValue("--ink");
  draw.lineWidth = 3;
  draw.beginPath();
  draw.arc(x, y, 10, 0, 2 * Math.PI);
  draw.stroke();
}

// The numbers of the chosen draw, its log p among those of rows, and how far its latents are from coming back.
async function describe() {
  const row = one(draws, picked);
  if (!row.every(Number.isFinite)) throw new Error("This draw overflows: scale the latents less.");
  $("values").textContent = meta.columns.map((name, i) => `${name} = ${row[i].toPrecision(4)}`).join(", ");
  const [back, scores] = await flow.ask(flow.encoder, row, [1, size], []);
  const start = picked * flow.latents;
  const error = back.reduce((worst, value, i) => Math.max(worst, Math.abs(value - z[start + i])), 0);
  $("trip").textContent = `From the draw its latents come back to within ${error.toExponential(0)}.`;
  if (meta.log_prob.length) drawDensity(scores[0]);
}

function drawDensity(logProb) {
  const known = meta.log_prob, spread = known.at(-1) - known[0];
  const below = known.filter((value) => value < logProb).length;
  $("density").textContent = `log p ${meta.exact === "exact" ? "=" : "≥"} ${logProb.toFixed(2)} nats`;
  $("place").textContent = `More likely than ${Math.round((100 * below) / known.length)} % of ${known.length} rows`;
  document.body.dataset.logProb = logProb;
  histogram($("among"), known, known[0] - 0.1 * spread, known.at(-1) + 0.1 * spread, { mark: logProb, unit: "nats" });
}

// Choose the draw that is nearest to a point of the picture.
function pick(event) {
  const box = $("plot").getBoundingClientRect(), scale = SIDE / box.width;
  const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  const distances = places(draws, meta.draws).map(([a, b]) => (a - x) ** 2 + (b - y) ** 2);
  picked = distances.indexOf(Math.min(...distances.filter(Number.isFinite)));
  redraw();
}

function makeControls() {
  $("name").textContent = document.title = `Draws of ${meta.name}`;
  for (const [id, first] of [["across", 0], ["up", Math.min(1, size - 1)]]) {
    meta.columns.forEach((name, column) => $(id).add(new Option(name, column)));
    $(id).value = first;
    $(id).oninput = redraw;
  }
  $("up").parentElement.hidden = size === 1;
  $("density-box").hidden = !meta.log_prob.length;
  $("scale").oninput = redraw;
  $("plot").onclick = pick;
  $("next").onclick = () => { picked = (picked + 1) % meta.draws; redraw(); };
}

try {
  flow = await Flow.open();
  meta = flow.meta;
  size = flow.size;
  [rows, latents] = [await floats("rows.bin"), await floats("latents.bin")];
  makeControls();
  redraw();
  await drawing;
  Object.assign(window, { flow, shown: () => ({ z, draws, picked }) }); // for the console, and for tests
  document.body.dataset.ready = "";
} catch (error) {
  say(error.message);
}
