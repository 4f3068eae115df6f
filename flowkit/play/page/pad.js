// A canvas to draw on, of the size of the flow's images.

import { pixels } from "./pictures.js";

// `ground` is the colour of an empty pad, `ink` an input with the colour of the pen; `done` gets the stored values after
// each stroke. Returns a function that empties the pad.
export function makePad(canvas, meta, ground, ink, done) {
  const [height, width] = meta.event;
  [canvas.width, canvas.height] = [width, height];
  const draw = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  };
  const stroke = (event) => {
    const now = place(event);
    Object.assign(draw, { lineCap: "round", lineWidth: Math.max(1, width / 12), strokeStyle: ink.value });
    draw.beginPath();
    draw.moveTo(...(last ?? now));
    draw.lineTo(...now);
    draw.stroke();
    last = now;
  };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); last = null; stroke(event); };
  canvas.onpointermove = (event) => { if (event.buttons) stroke(event); };
  canvas.onpointerup = () => done(pixels(canvas, 0, 0, meta));
  const clear = () => { draw.fillStyle = ground; draw.fillRect(0, 0, width, height); };
  clear();
  return clear;
}
