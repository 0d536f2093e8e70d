// Images as inputs, in an artifact's layout and type.

const CHANNELS = 3;

// Height and width of an input of shape N×H×W×3 or N×3×H×W.
export function sides(shape) {
  return shape[3] === CHANNELS ? [shape[1], shape[2]] : [shape[2], shape[3]];
}

// Seeded noise, batch×H×W×3 uint8: the same for every artifact of one size (mulberry32).
export function noise(shape, batch, seed) {
  const [height, width] = sides(shape);
  const pixels = new Uint8Array(batch * height * width * CHANNELS);
  let state = seed >>> 0;
  for (let i = 0; i < pixels.length; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    pixels[i] = (mixed ^ (mixed >>> 14)) >>> 24;
  }
  return pixels;
}

// N×H×W×3 uint8 pixels as the input that an artifact takes: pixels, or (x / 255 − mean) / std in
// float32, with the roundings that numpy makes in the other runners.
export function prepare(pixels, input, batch, job) {
  const [height, width] = sides(input.shape);
  if (input.dtype === "uint8") return { data: pixels, dims: dimensions(input.shape, batch) };
  const tables = job.mean.map((mean, channel) => normalised(mean, job.std[channel]));
  const values = new Float32Array(pixels.length);
  const plane = height * width;
  const isLast = input.shape[3] === CHANNELS;
  for (let i = 0; i < pixels.length; i++) {
    const channel = i % CHANNELS;
    const position = (i - channel) / CHANNELS;
    const image = Math.floor(position / plane);
    const target = isLast ? i : (image * CHANNELS + channel) * plane + (position % plane);
    values[target] = tables[channel][pixels[i]];
  }
  return { data: values, dims: dimensions(input.shape, batch) };
}

function dimensions(shape, batch) {
  return [batch, ...shape.slice(1)];
}

// What each value of a byte becomes, of one channel.
function normalised(mean, std) {
  const offset = Math.fround(Math.fround(mean) * 255);
  const scale = Math.fround(1 / Math.fround(Math.fround(std) * 255));
  return Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte - offset) * scale);
}
