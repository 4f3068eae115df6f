// Canvases: images of stored values, and two histograms.

// Stored values (h, w, c) as the pixels of a canvas.
export function paint(canvas, stored, { event: [height, width, channels], stored_levels }) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) {
      const value = stored[i * channels + (channels === 1 ? 0 : c)];
      image.data[4 * i + c] = Math.round((value * 255) / (stored_levels - 1));
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The pixels of part of an image as stored values; of one channel their mean.
export function pixels(source, x, y, { event: [height, width, channels], stored_levels }) {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(source, x, y, width, height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height * channels }, (_, k) => {
    const i = 4 * Math.floor(k / channels);
    const value = channels === 1 ? (data[i] + data[i + 1] + data[i + 2]) / 3 : data[i + (k % channels)];
    return Math.round((value * (stored_levels - 1)) / 255);
  });
}

// An image file as stored values. Throws an Error whose message is a sentence if it is not one of this size.
export async function fromFile(file, meta) {
  const [height, width] = meta.event;
  const wanted = `Expected an image, ${width} pixels wide and ${height} high; `;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${wanted}${file.name} is no image that this browser can read.`);
  }
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new Error(`${wanted}${file.name} is ${bitmap.width} wide and ${bitmap.height} high.`);
  }
  return pixels(bitmap, 0, 0, meta);
}

// An image of stored values as a canvas whose pixels are squares of `zoom`.
export function enlarged(stored, meta, zoom) {
  const [height, width] = meta.event, small = document.createElement("canvas"), large = new OffscreenCanvas(width * zoom, height * zoom);
  paint(small, stored, meta);
  const draw = large.getContext("2d");
  draw.imageSmoothingEnabled = false;
  draw.drawImage(small, 0, 0, large.width, large.height);
  return large;
}

// A histogram of `values` from `low` to `high`, of bars 0..1 high, over an axis; `curve` on top, and a mark.
export function histogram(canvas, values, low, high, { curve = null, mark = null, unit = "" } = {}) {
  const bins = 40, counts = new Array(bins).fill(0), style = getComputedStyle(document.body);
  for (const value of values) {
    counts[Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * bins)))]++;
  }
  const scale = curve ? 1 / ((values.length * (high - low)) / bins) : 1 / Math.max(1, ...counts);
  const top = curve ? 0.6 : 1.05;
  canvas.width = 2 * 336;
  canvas.height = 2 * 100;
  const { width } = canvas, height = canvas.height - 40, draw = canvas.getContext("2d");
  const x = (value) => ((value - low) / (high - low)) * width;
  const y = (share) => height - (height * Math.min(share, top)) / top;
  draw.fillStyle = style.getPropertyValue("--bar");
  counts.forEach((count, i) => draw.fillRect((i * width) / bins, y(count * scale), width / bins - 2, height - y(count * scale)));
  axis(draw, width, height, low, high, x, unit, style.getPropertyValue("--ink"));
  draw.strokeStyle = draw.fillStyle = style.getPropertyValue("--mark");
  draw.lineWidth = 4;
  draw.beginPath();
  if (curve) {
    for (let i = 0; i <= width; i += 4) draw.lineTo(i, y(curve(low + (i / width) * (high - low))));
  }
  if (mark !== null) {
    const place = Math.min(width - 2, Math.max(2, x(mark)));
    draw.moveTo(place, 0);
    draw.lineTo(place, height);
  }
  draw.stroke();
}

// A line with round numbers below it, and the unit at its end.
function axis(draw, width, height, low, high, x, unit, ink) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough);
  draw.fillStyle = ink;
  draw.fillRect(0, height, width, 2);
  draw.font = "22px system-ui, sans-serif";
  draw.textAlign = "right";
  const room = unit ? draw.measureText(unit).width + 16 : 0;
  draw.fillText(unit, width, height + 32);
  draw.textAlign = "center";
  for (let k = Math.ceil(low / step); k * step <= high; k++) {
    const text = String(Number((k * step).toPrecision(6))), half = draw.measureText(text).width / 2, place = x(k * step);
    draw.fillRect(place - 1, height, 2, 8);
    if (place - half >= 0 && place + half <= width - room) draw.fillText(text, place, height + 32);
  }
}
