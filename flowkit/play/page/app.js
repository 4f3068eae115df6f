// The controls: each changes the state, and the page is drawn anew from that.

import { Flow, normals, read } from "./flow.js";
import { gif, palette } from "./gif.js";
import { makePad } from "./pad.js";
import { enlarged, fromFile, histogram, paint, pixels } from "./pictures.js";
import { fresh, fromHash, toHash } from "./state.js";

const $ = (id) => document.getElementById(id);
const STRIP = 9, FRAMES = 25, DELAY = 8; // images on the way from A to B, and 1/100 s from one to the next
let flow, meta, state, images, known = new Map(), changed = false, drawing = false, playing = null;

function say(sentence) {
  $("message").textContent = sentence;
  $("message").hidden = !sentence;
}

// The latents that are shown, with the levels, moves and draws of the state, at `mix` on the way from A to B.
async function latents(mix) {
  const [a, b] = [await encoded(state.a), await encoded(state.b)];
  const z = Float32Array.from(a, (value, i) => (1 - mix) * value + mix * b[i]);
  let start = 0;
  meta.level_sizes.forEach((size, level) => {
    const drawn = state.seeds[level] ? normals(state.seeds[level] * 64 + level, size) : z.subarray(start, start + size);
    for (let i = 0; i < size; i++) z[start + i] = state.temperatures[level] * drawn[i];
    start += size;
  });
  state.amounts.forEach((amount, k) => {
    if (amount) flow.directions[k].forEach((part, i) => { z[i] += amount * part; });
  });
  return z;
}

async function encoded(index) {
  const image = index === meta.images ? state.own : images[index];
  if (!known.has(image)) {
    const label = await labelOf(index);
    known.set(image, { z: await flow.encode(image, label), label });
  }
  return known.get(image).z;
}

// The class of an image, of a flow that is given one: your own is of the class under which it is most likely.
async function labelOf(index) {
  if (index < meta.images) return meta.classes.length ? meta.shown_labels[index] : undefined;
  return known.get(state.own)?.label ?? (meta.classes.length ? flow.likeliest(state.own) : undefined);
}

// The class that is decoded at `mix` on the way: the chosen one, or that of the nearer end.
async function classAt(mix) {
  return state.label ?? labelOf(mix < 0.5 ? state.a : state.b);
}

// At most one drawing at a time: what was changed meanwhile is drawn once, after it.
function redraw() {
  pause();
  changed = true;
  if (drawing) return;
  drawing = (async () => {
    while (changed) {
      changed = false;
      showControls();
      try {
        await draw();
        say("");
      } catch (error) {
        say(error.message);
      }
    }
    drawing = false;
    document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1);
  })();
}

async function draw() {
  const z = await latents(state.mix), label = await classAt(state.mix), image = await flow.decode(z, 1, [label]);
  paint($("picture"), image, meta);
  if (meta.log_prob.length) await drawDensity(image, label);
  histogram($("latents"), z, -4, 4, { curve: (x) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) });
  const error = await flow.tripError(image, label);
  $("trip").textContent = `From its latents the image comes back to within ${error.toExponential(0)} of its size.`;
  history.replaceState(null, "", toHash(state));
  if (changed) return; // the strip can wait until the slider rests
  (await way(STRIP)).forEach((stored, i) => paint($("strip").children[i].firstChild, stored, meta));
}

// log p of the image among those of test images; not of a flow whose log p is an estimate with noise.
async function drawDensity(image, label) {
  const logProb = await flow.logProb(image, label), tests = meta.log_prob;
  const bits = -logProb / (flow.size * Math.LN2);
  $("density").textContent = `log p${label === undefined ? "" : `(x | ${meta.classes[label]})`} ${meta.exact === "exact" ? "=" : "≥"} ${logProb.toFixed(1)} nats (${bits.toFixed(3)} bits/dim)`;
  document.body.dataset.logProb = logProb;
  const below = tests.filter((value) => value < logProb).length;
  $("place").textContent = `More likely than ${Math.round((100 * below) / tests.length)} % of ${tests.length} test images`;
  const spread = tests.at(-1) - tests[0];
  histogram($("among"), tests, tests[0] - 0.1 * spread, tests.at(-1) + 0.1 * spread, { mark: logProb, unit: "nats" });
}

// `count` images on the way from A to B, as stored values.
async function way(count) {
  const z = new Float32Array(count * flow.latents), labels = [];
  for (let i = 0; i < count; i++) {
    z.set(await latents(i / (count - 1)), i * flow.latents);
    labels.push(await classAt(i / (count - 1)));
  }
  const all = await flow.decode(z, count, labels);
  return Array.from({ length: count }, (_, i) => all.subarray(i * flow.size, (i + 1) * flow.size));
}

// Move from A to B and back until something is changed. The numbers of an image take longer than the next image.
async function play() {
  if (playing) return redraw();
  $("play").textContent = "Pause";
  playing = true;
  const frames = await way(FRAMES);
  let at = Math.round(state.mix * (FRAMES - 1)), step = 1;
  if (!playing) return; // something was changed meanwhile
  playing = setInterval(() => {
    if (at + step < 0 || at + step >= FRAMES) step = -step;
    at += step;
    state.mix = at / (FRAMES - 1);
    paint($("picture"), frames[at], meta);
    showSliders();
  }, 10 * DELAY);
}

function pause() {
  if (!playing) return;
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
}

const zoom = () => Math.ceil(280 / Math.max(...meta.event.slice(0, 2)));

async function saveGif() {
  const frames = await way(FRAMES), [colours, place] = palette(meta.event[2]);
  const shown = frames.map((stored) => {
    const canvas = enlarged(stored, meta, zoom()), { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return Uint8Array.from({ length: width * height }, (_, i) => place(...data.subarray(4 * i, 4 * i + 3)));
  });
  const [height, width] = meta.event.map((side) => side * zoom());
  save(gif([...shown, ...shown.slice(1, -1).reverse()], width, height, colours, DELAY), "from-a-to-b.gif");
}

async function savePng() {
  const stored = pixels($("picture"), 0, 0, meta);
  save(await enlarged(stored, meta, zoom()).convertToBlob({ type: "image/png" }), "image.png");
}

function save(blob, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function showSliders() {
  for (const [input, get] of sliders) {
    input.value = get();
    input.nextElementSibling.value = get().toFixed(2);
  }
}

function showControls() {
  showSliders();
  $("class").value = state.label ?? "";
  const shown = [...images, ...(state.own ? [state.own] : [])];
  while ($("thumbs").children.length > shown.length) $("thumbs").lastChild.remove();
  shown.forEach((image, i) => {
    const thumb = $("thumbs").children[i] ?? $("thumbs").appendChild(pictureButton(() => choose(i)));
    paint(thumb.firstChild, image, meta);
    if (meta.labels.length && thumb.children.length === 1) thumb.append(document.createElement("span"));
    if (meta.labels.length) thumb.lastChild.textContent = meta.labels[i] ?? "own";
    thumb.title = meta.labels[i] ?? (i < meta.images ? `test image ${i + 1}` : "your own image");
    thumb.setAttribute("aria-label", `${thumb.title}, number ${i + 1}`);
    const slots = [state.a === i ? "A" : "", state.b === i ? "B" : ""].join("");
    if (slots) thumb.dataset.slot = slots;
    else delete thumb.dataset.slot;
  });
}

// Take an image as A or as B.
function choose(index) {
  state[document.querySelector("input[name=slot]:checked").value] = index;
  redraw();
}

function takeOwn(stored) {
  state.own = stored;
  choose(meta.images);
}

function pictureButton(onclick) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(document.createElement("canvas"));
  button.onclick = onclick;
  return button;
}

const sliders = []; // [input, what it shows]

function slider(input, get, set) {
  sliders.push([input, get]);
  input.oninput = () => { set(Number(input.value)); redraw(); };
}

function newSlider(parent, name, [min, max], get, set) {
  const label = document.createElement("label"), words = document.createElement("span"), input = document.createElement("input");
  label.className = "slider";
  words.textContent = name;
  Object.assign(input, { type: "range", min, max, step: 0.01 });
  label.append(words, input, document.createElement("output"));
  parent.append(label);
  slider(input, get, set);
}

const seed = () => 1 + Math.floor(Math.random() * (2 ** 24 - 1));

function makeControls() {
  $("name").textContent = document.title = `Latent space of ${meta.name}`;
  slider($("mix"), () => state.mix, (value) => { state.mix = value; });
  for (let i = 0; i < STRIP; i++) {
    const button = $("strip").appendChild(pictureButton(() => { state.mix = i / (STRIP - 1); redraw(); }));
    button.setAttribute("aria-label", `${Math.round((100 * i) / (STRIP - 1))} % of the way from A to B`);
  }
  // The last level holds the shape, so it comes first.
  meta.level_sizes.map((size, level) => level).reverse().forEach((level) => {
    const row = $("levels").appendChild(document.createElement("div")), button = document.createElement("button");
    row.className = "level";
    newSlider(row, `level ${level} × `, [0, 1.5], () => state.temperatures[level], (value) => { state.temperatures[level] = value; });
    Object.assign(button, { type: "button", textContent: "resample", onclick: () => { state.seeds[level] = seed(); redraw(); } });
    button.setAttribute("aria-label", `resample level ${level}`);
    row.append(button);
  });
  meta.attributes.forEach((name, k) => {
    newSlider($("attributes"), name, [-2, 2], () => state.amounts[k], (value) => { state.amounts[k] = value; });
  });
  $("density-box").hidden = !meta.log_prob.length;
  $("attributes-box").hidden = !meta.attributes.length;
  $("class-box").hidden = !meta.classes.length;
  meta.classes.forEach((name, label) => $("class").add(new Option(name, label)));
  $("class").oninput = () => { state.label = $("class").value === "" ? null : Number($("class").value); redraw(); };
  $("dice").onclick = () => {
    state.seeds = state.seeds.map(seed);
    state.temperatures = state.temperatures.map(() => meta.temperature);
    redraw();
  };
  $("reset").onclick = () => { state = { ...fresh(meta), a: state.a, b: state.b, own: state.own }; redraw(); };
  $("share").onclick = async () => {
    await navigator.clipboard.writeText(location.href).then(() => say("The link is copied."), () => say(`The link: ${location.href}`));
  };
  $("play").onclick = () => play().catch((error) => { pause(); say(error.message); });
  $("gif").onclick = () => saveGif().catch((error) => say(error.message));
  $("png").onclick = savePng;
  const corner = images.map((image) => Array.from(image.subarray(0, meta.event[2]))).sort()[images.length >> 1];
  const ground = corner.map((value) => Math.round((value * 255) / (meta.stored_levels - 1)));
  $("ink").value = ground[0] > 127 ? "#000000" : "#ffffff";
  $("clear").onclick = makePad($("pad"), meta, `rgb(${[0, 1, 2].map((c) => ground[c] ?? ground[0])})`, $("ink"), takeOwn);
  $("copy").onclick = () => $("pad").getContext("2d").drawImage($("picture"), 0, 0);
  $("own").onchange = () => take($("own").files[0]);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  addEventListener("hashchange", follow);
}

async function take(file) {
  if (!file) return;
  try {
    takeOwn(await fromFile(file, meta));
  } catch (error) {
    say(error.message);
  }
}

function follow() {
  let problem = "";
  try {
    state = fromHash(location.hash, meta, flow.size);
  } catch (error) {
    [state, problem] = [fresh(meta), error.message];
  }
  redraw();
  if (problem) drawing.then(() => say(problem));
}

async function cut(name) {
  const columns = meta.columns, [height, width] = meta.event;
  const atlas = await createImageBitmap(new Blob([await read(name)]));
  return Array.from({ length: meta.images }, (_, i) => pixels(atlas, (i % columns) * width, Math.floor(i / columns) * height, meta));
}

try {
  flow = await Flow.open();
  meta = flow.meta;
  images = await cut("images.png");
  makeControls();
  follow();
  await drawing;
  Object.assign(window, { flow, latents, images, shown: () => state }); // for the console, and for tests
  document.body.dataset.ready = "";
} catch (error) {
  say(error.message);
}
