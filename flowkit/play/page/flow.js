// The flow: two ONNX graphs, and the arithmetic of stored pixels around them.

export class Flow {
  // From meta.json and the graphs beside the page. Throws an Error whose message is a sentence for the reader.
  static async open() {
    const flow = new Flow();
    flow.meta = JSON.parse(new TextDecoder().decode(await read("meta.json")));
    const { event, latents, attributes } = flow.meta;
    [flow.size, flow.latents] = [event, latents].map((shape) => shape.reduce((product, n) => product * n, 1));
    if (typeof ort === "undefined") throw new Error("ort.wasm.min.js is missing from this folder: write the page anew.");
    ort.env.wasm.numThreads = 1; // more would need headers that plain servers do not send
    ort.env.wasm.proxy = true; // in a worker, so that the page answers while the flow computes
    ort.env.wasm.wasmPaths = new URL("./", document.baseURI).href;
    for (const name of ["decode", "encode"]) {
      const bytes = await read(`${name}.onnx`);
      await verify(bytes, flow.meta.sha256[name], `${name}.onnx`);
      flow[`${name}r`] = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
    }
    if (!attributes) return flow; // a flow of vectors, not of images
    flow.noise = new Float32Array(await read("noise.bin"));
    const directions = new Float32Array(await read("directions.bin"));
    flow.directions = attributes.map((_, i) => directions.slice(i * flow.latents, (i + 1) * flow.latents));
    return flow;
  }

  // What the graphs are asked goes one after another: a session answers one question at a time. `labels` are the
  // classes of the rows, for a flow that knows some. What a tensor is made of goes to the worker, so it is a copy.
  ask(session, data, shape, labels) {
    const run = async () => {
      const given = { [session.inputNames.find((name) => name !== "context")]: new ort.Tensor("float32", data.slice(), shape) };
      if (this.meta.classes.length) given.context = new ort.Tensor("int32", Int32Array.from(labels), [shape[0]]);
      const answer = await session.run(given);
      return session.outputNames.map((name) => answer[name].data);
    };
    this.last = (this.last ?? Promise.resolve()).then(run, run);
    return this.last;
  }

  // Latents of `count` images, and the class of each -> their stored values.
  async decode(z, count = 1, labels = []) {
    const [y] = await this.ask(this.decoder, z, [count, ...this.meta.latents], labels);
    if (!y.every(Number.isFinite)) {
      throw new Error("These latents lie where the flow has seen no data, and its image overflows: move them less far.");
    }
    const { levels, step } = this.meta;
    return Uint8Array.from(y, (value) => step * Math.min(levels - 1, Math.max(0, Math.floor((value + 0.5) * levels))));
  }

  // Stored values -> continuous ones, in their bins at `u`.
  spread(stored, u) {
    const { levels, step } = this.meta;
    return Float32Array.from(stored, (value, i) => {
      const level = Math.floor(value / step);
      return Math.min(level + u(i), level + 1 - 2 ** -16) / levels - 0.5;
    });
  }

  // The latents of an image, from the middle of its bins; and how far it is from coming back.
  async encode(stored, label) {
    const y = this.spread(stored, () => 0.5);
    const [z] = await this.ask(this.encoder, y, [1, ...this.meta.event], [label]);
    return Float32Array.from(z);
  }

  async tripError(stored, label) {
    const y = this.spread(stored, () => 0.5);
    const [back] = await this.ask(this.decoder, await this.encode(stored, label), [1, ...this.meta.latents], [label]);
    return 2 * y.reduce((worst, value, i) => Math.max(worst, Math.abs(value - back[i])), 0);
  }

  // log p of an image as stored, in nats: one draw of the bound, with the noise that the flow gives the first row.
  async logProb(stored, label) {
    const y = this.spread(stored, (i) => this.noise[i]);
    const [, logProb] = await this.ask(this.encoder, y, [1, ...this.meta.event], [label]);
    return logProb[0];
  }

  // The class under which an image is most likely; the first of a flow without log p.
  async likeliest(stored) {
    const found = [];
    if (!this.meta.log_prob.length) return 0;
    for (const label of this.meta.classes.keys()) found.push(await this.logProb(stored, label));
    return found.indexOf(Math.max(...found));
  }
}

export async function read(name) {
  // A folder may have been written anew: what the browser has kept of it is asked for again.
  const answer = await fetch(name, { cache: "no-cache" }).catch(() => null);
  if (!answer?.ok) throw new Error(`${name} is missing from this folder: write the page anew with flowkit play.`);
  return answer.arrayBuffer();
}

async function verify(bytes, expected, name) {
  if (!globalThis.crypto?.subtle) return; // a browser offers it to safe origins alone
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const received = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (received !== expected) throw new Error(`${name} is not the file that meta.json was written for: write the page anew.`);
}

// `count` standard normal numbers that follow from a whole number (mulberry32, Box and Muller).
export function normals(seed, count) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}
