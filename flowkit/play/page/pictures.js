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

// A histogram of `values` from `low` to `high`, of bars 0..1 high; `curve` on top, and a mark.
export function histogram(canvas, values, low, high, { curve = null, mark = null } = {}) {
  const bins = 40, counts = new Array(bins).fill(0), style = getComputedStyle(document.body);
  for (const value of values) {
    counts[Math.min(bins - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * bins)))]++;
  }
  const scale = curve ? 1 / ((values.length * (high - low)) / bins) : 1 / Math.max(1, ...counts);
  const top = curve ? 0.6 : 1.05;
  canvas.width = 2 * 336;
  canvas.height = 2 * 80;
  const { width, height } = canvas, draw = canvas.getContext("2d");
  const y = (share) => height - (height * Math.min(share, top)) / top;
  draw.fillStyle = style.getPropertyValue("--bar");
  counts.forEach((count, i) => draw.fillRect((i * width) / bins, y(count * scale), width / bins - 2, height));
  draw.strokeStyle = draw.fillStyle = style.getPropertyValue("--mark");
  draw.lineWidth = 4;
  draw.beginPath();
  if (curve) {
    for (let i = 0; i <= width; i += 4) draw.lineTo(i, y(curve(low + (i / width) * (high - low))));
  }
  if (mark !== null) {
    const x = Math.min(width - 2, Math.max(2, ((mark - low) / (high - low)) * width));
    draw.moveTo(x, 0);
    draw.lineTo(x, height);
  }
  draw.stroke();
}
