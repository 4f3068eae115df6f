// The controls: each changes the state, and the page is drawn anew from that.

import { Flow, normals, read } from "./flow.js";
import { fromFile, histogram, paint, pixels } from "./pictures.js";
import { fresh, fromHash, toHash } from "./state.js";

const $ = (id) => document.getElementById(id);
const STRIP = 9;
let flow, meta, state, images, known = new Map(), changed = false, drawing = false;

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
  const logProb = await flow.logProb(image, label), tests = meta.log_prob;
  const bits = -logProb / (flow.size * Math.LN2);
  $("density").textContent = `log p${label === undefined ? "" : `(x | ${meta.classes[label]})`} ${meta.exact === "exact" ? "=" : "≥"} ${logProb.toFixed(1)} nats (${bits.toFixed(3)} bits/dim)`;
  document.body.dataset.logProb = logProb;
  const below = tests.filter((value) => value < logProb).length;
  $("place").textContent = `More likely than ${Math.round((100 * below) / tests.length)} % of ${tests.length} test images`;
  const spread = tests.at(-1) - tests[0];
  histogram($("among"), tests, tests[0] - 0.1 * spread, tests.at(-1) + 0.1 * spread, { mark: logProb });
  histogram($("latents"), z, -4, 4, { curve: (x) => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) });
  const error = await flow.tripError(image, label);
  $("trip").textContent = `From its latents the image comes back to within ${error.toExponential(0)} of its size.`;
  history.replaceState(null, "", toHash(state));
  if (changed) return; // the strip can wait until the slider rests
  const way = new Float32Array(STRIP * flow.latents), labels = [];
  for (let i = 0; i < STRIP; i++) {
    way.set(await latents(i / (STRIP - 1)), i * flow.latents);
    labels.push(await classAt(i / (STRIP - 1)));
  }
  const row = await flow.decode(way, STRIP, labels);
  for (let i = 0; i < STRIP; i++) {
    paint($("strip").children[i].firstChild, row.subarray(i * flow.size, (i + 1) * flow.size), meta);
  }
}

function showControls() {
  for (const [input, get] of sliders) {
    input.value = get();
    input.nextElementSibling.value = get().toFixed(2);
  }
  $("class").value = state.label ?? "";
  const shown = [...images, ...(state.own ? [state.own] : [])];
  while ($("thumbs").children.length > shown.length) $("thumbs").lastChild.remove();
  shown.forEach((image, i) => {
    const thumb = $("thumbs").children[i] ?? $("thumbs").appendChild(pictureButton(() => {
      state[document.querySelector("input[name=slot]:checked").value] = i;
      redraw();
    }));
    paint(thumb.firstChild, image, meta);
    thumb.title = meta.labels[i] ?? (i < meta.images ? `test image ${i + 1}` : "your own image");
    thumb.setAttribute("aria-label", `${thumb.title}, number ${i + 1}`);
    const slots = [state.a === i ? "A" : "", state.b === i ? "B" : ""].join("");
    if (slots) thumb.dataset.slot = slots;
    else delete thumb.dataset.slot;
  });
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
    newSlider(row, `level ${level + 1} × `, [0, 1.5], () => state.temperatures[level], (value) => { state.temperatures[level] = value; });
    Object.assign(button, { type: "button", textContent: "resample", onclick: () => { state.seeds[level] = seed(); redraw(); } });
    button.setAttribute("aria-label", `resample level ${level + 1}`);
    row.append(button);
  });
  meta.attributes.forEach((name, k) => {
    newSlider($("attributes"), name, [-2, 2], () => state.amounts[k], (value) => { state.amounts[k] = value; });
  });
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
  $("own").onchange = () => take($("own").files[0]);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  addEventListener("hashchange", follow);
}

async function take(file) {
  if (!file) return;
  try {
    state.own = await fromFile(file, meta);
    state[document.querySelector("input[name=slot]:checked").value] = meta.images;
    redraw();
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
