// The published preprocessing, bit for bit as Pillow computes it: the short side is resized with
// antialiasing, the centre is cropped. For Node and for browsers.

const BITS = 22; // behind the point of Pillow's integer weights

const FILTERS = {
  bicubic: {
    support: 2,
    at(distance) {
      const x = Math.abs(distance), a = -0.5;
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
};

/** For `count` positions from `start`: the first source position, and the weights from there on. */
function weights(filter, from, to, start, count) {
  const scale = from / to, stretch = Math.max(scale, 1), support = filter.support * stretch;
  return Array.from({ length: count }, (_, i) => {
    const centre = (start + i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const real = [];
    for (let x = first; x < end; x++) real.push(filter.at((x - centre + 0.5) * (1 / stretch)));
    const sum = real.reduce((a, b) => a + b, 0);
    const whole = real.map((w) => (w / sum) * (1 << BITS));
    return { first, values: whole.map((w) => Math.trunc(w + (w < 0 ? -0.5 : 0.5))) };
  });
}

const byte = (sum) => Math.min(Math.max(sum >> BITS, 0), 255);

/** Half of an even number is rounded to it, as Python does. */
function halfEven(value) {
  const below = Math.floor(value), half = value - below === 0.5;
  return half ? below + (below % 2) : Math.round(value);
}

/** One pass over bytes of outer × length × inner: the middle axis becomes that of the weights. */
function pass(source, outer, length, inner, taps) {
  const result = new Uint8Array(outer * taps.length * inner);
  for (let o = 0, to = 0; o < outer; o++) {
    for (const { first, values } of taps) {
      for (let i = 0; i < inner; i++, to++) {
        let sum = 1 << (BITS - 1), at = (o * length + first) * inner + i;
        for (const weight of values) (sum += source[at] * weight), (at += inner);
        result[to] = byte(sum);
      }
    }
  }
  return result;
}

/**
 * An image as the network sees it: size × size × 3 bytes, RGB.
 *
 * `pixels` are height × width × channels bytes, RGB or RGBA; alpha is dropped.
 */
export function fit(pixels, width, height, channels, { size, short, interpolation }) {
  const long = Math.trunc((short * Math.max(width, height)) / Math.min(width, height));
  const [wide, high] = width <= height ? [short, long] : [long, short];
  const [left, top] = [wide, high].map((side) => halfEven((side - size) / 2));
  const filter = FILTERS[interpolation];
  const columns = weights(filter, width, wide, left, size);
  const rows = weights(filter, height, high, top, size);
  let result;
  if (height > high && height - high > 2 * (width - wide)) { // Pillow 13; others: rows never first
    result = pass(pixels, 1, height, width * channels, rows);
    result = pass(result, size, width, channels, columns);
  } else {
    const begin = rows[0].first, end = rows[size - 1].first + rows[size - 1].values.length;
    const used = pixels.subarray(begin * width * channels, end * width * channels);
    const moved = rows.map(({ first, values }) => ({ first: first - begin, values }));
    result = pass(used, end - begin, width, channels, columns);
    result = pass(result, 1, end - begin, size * channels, moved);
  }
  return channels === 3 ? result : result.filter((_, i) => i % channels < 3);
}

/** Bytes as 1 × 3 × size × size floats, (x / 255 − mean) / std. */
export function normalise(bytes, { size, mean, std }) {
  const area = size * size, result = new Float32Array(3 * area);
  for (let c = 0; c < 3; c++) {
    const offset = mean[c] * 255, scale = 1 / (std[c] * 255);
    for (let i = 0; i < area; i++) result[c * area + i] = (bytes[i * 3 + c] - offset) * scale;
  }
  return result;
}

/** The most probable classes of an image's logits, the best first. */
export function best(logits, names, count = 5) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers
    .map((power, index) => ({ index, name: names[index] ?? "", probability: power / total }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}
