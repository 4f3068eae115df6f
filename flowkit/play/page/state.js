// All that the page shows follows from this, and a link holds it.

export function fresh(meta) {
  return {
    a: 0, b: Math.min(1, meta.images - 1), mix: 0, own: null,
    temperatures: meta.level_sizes.map(() => 1), // what each level's latents are multiplied by
    seeds: meta.level_sizes.map(() => 0), // 0: the level's own latents
    amounts: meta.attributes.map(() => 0),
    label: null, // the class that is decoded; null: that of the nearer of A and B
  };
}

export function toHash(state) {
  const words = new URLSearchParams({
    a: state.a, b: state.b, mix: state.mix, levels: state.temperatures.join(","), seeds: state.seeds.join(","),
    moves: state.amounts.join(","),
  });
  if (state.label !== null) words.set("class", state.label);
  if (state.own) words.set("own", btoa(String.fromCharCode(...state.own)));
  return `#${words}`;
}

// The state of a link. Throws an Error with a sentence if there is something in it that this flow cannot show.
export function fromHash(hash, meta, size) {
  const state = fresh(meta), words = new URLSearchParams(hash.replace(/^#/, ""));
  const wrong = (what) => new Error(`This link was made for another flow, or is cut off: its ${what} cannot be read.`);
  const number = (text, low, high, what) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= low && value <= high)) throw wrong(what);
    return value;
  };
  const list = (name, count, low, high) => {
    const parts = words.get(name) === "" ? [] : words.get(name).split(",");
    if (parts.length !== count) throw wrong(name);
    return parts.map((part) => number(part, low, high, name));
  };
  if (words.has("own")) {
    try { state.own = Uint8Array.from(atob(words.get("own")), (c) => c.charCodeAt(0)); } catch { throw wrong("image"); }
    if (state.own.length !== size) throw wrong("image");
  }
  const images = meta.images + (state.own ? 1 : 0);
  for (const slot of ["a", "b"]) {
    if (words.has(slot)) state[slot] = Math.floor(number(words.get(slot), 0, images - 1, slot));
  }
  if (words.has("mix")) state.mix = number(words.get("mix"), 0, 1, "mix");
  if (words.has("levels")) state.temperatures = list("levels", state.temperatures.length, 0, 1.5);
  if (words.has("seeds")) state.seeds = list("seeds", state.seeds.length, 0, 2 ** 31).map(Math.floor);
  if (words.has("moves")) state.amounts = list("moves", state.amounts.length, -2, 2);
  if (words.has("class")) state.label = Math.floor(number(words.get("class"), 0, meta.classes.length - 1, "class"));
  return state;
}
