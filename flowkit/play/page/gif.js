// Animated GIFs: frames of places in a palette, packed by LZW.

// `frames` are Uint8Arrays of width x height places; `palette` holds 256 colours [r, g, b]; `delay` is in 1/100 s.
export function gif(frames, width, height, palette, delay) {
  const bytes = [], text = (words) => bytes.push(...[...words].map((letter) => letter.charCodeAt(0)));
  const number = (n) => bytes.push(n & 255, n >> 8);
  text("GIF89a");
  [width, height].forEach(number);
  bytes.push(0xf7, 0, 0, ...palette.flat()); // a palette of 256 colours
  bytes.push(0x21, 0xff, 11);
  text("NETSCAPE2.0");
  bytes.push(3, 1, 0, 0, 0); // again and again
  for (const frame of frames) {
    bytes.push(0x21, 0xf9, 4, 4);
    number(delay);
    bytes.push(0, 0, 0x2c);
    [0, 0, width, height].forEach(number);
    bytes.push(0, 8);
    const packed = lzw(frame);
    for (let i = 0; i < packed.length; i += 255) {
      const part = packed.slice(i, i + 255);
      bytes.push(part.length, ...part);
    }
    bytes.push(0);
  }
  bytes.push(0x3b);
  return new Blob([Uint8Array.from(bytes)], { type: "image/gif" });
}

function lzw(places) {
  const CLEAR = 256, END = 257, MOST = 4096, out = [];
  let table = new Map(), next = END + 1, size = 9, held = 0, bits = 0, prefix = places[0];
  const put = (code) => {
    held |= code << bits;
    for (bits += size; bits >= 8; bits -= 8) {
      out.push(held & 255);
      held >>>= 8;
    }
  };
  put(CLEAR);
  for (const place of places.subarray(1)) {
    const key = prefix * 256 + place, known = table.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    put(prefix);
    if (next === MOST) {
      put(CLEAR);
      [table, next, size] = [new Map(), END + 1, 9];
    } else {
      if (next === 1 << size) size++;
      table.set(key, next++);
    }
    prefix = place;
  }
  put(prefix);
  put(END);
  out.push(held & 255);
  return out;
}

// A palette for images of 1 or 3 channels, and the place in it of a pixel: greys, or 6 x 7 x 6 colours.
export function palette(channels) {
  if (channels === 1) return [Array.from({ length: 256 }, (_, k) => [k, k, k]), (r) => r];
  const level = (value, count) => Math.round((value * (count - 1)) / 255);
  const colours = Array.from({ length: 256 }, (_, k) => [
    Math.min(255, Math.floor(k / 42) * 51), Math.floor((Math.floor(k / 6) % 7) * 42.5), (k % 6) * 51,
  ]);
  return [colours, (r, g, b) => 42 * level(r, 6) + 6 * level(g, 7) + level(b, 6)];
}
