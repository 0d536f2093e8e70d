// The most probable classes of images, in Node:
//
//     npm install onnxruntime-node
//     node sample.mjs example.png
//
// PNG needs nothing else; `npm install sharp` adds JPEG, WebP and the rest. --json prints all logits.

import { readFile } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import ort from "onnxruntime-node";
import { best, fit, normalise } from "./preprocess.mjs";

const FILE = new URL(encodeURIComponent(@@file), import.meta.url);
const INPUT = @@input, OUTPUT = @@output;
const PIXELS = @@pixels; // whether the file normalises inside, and takes 1 × size × size × 3 bytes
const UPRIGHT = @@upright; // whether photographs are turned as their EXIF orientation says
const TRANSFORM = {
  size: @@size,
  short: @@short, // of the shorter side before the crop
  interpolation: @@interpolation,
  mean: @@mean,
  std: @@std,
};

async function decoded(path) {
  const sharp = await import("sharp").then((module) => module.default, () => null);
  if (!sharp) return png(await readFile(path));
  const turned = UPRIGHT ? sharp(path).rotate() : sharp(path);
  const image = turned.toColourspace("srgb").removeAlpha().raw();
  const { data, info } = await image.toBuffer({ resolveWithObject: true });
  return { pixels: data, width: info.width, height: info.height, channels: info.channels };
}

/** The pixels of a PNG of 8 bits that is not interlaced. */
function png(file) {
  if (file.toString("latin1", 1, 4) !== "PNG") throw Error("not a PNG: npm install sharp");
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth, kind, , , interlaced] = file.subarray(24, 29);
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[kind];
  if (depth !== 8 || interlaced) throw Error("a PNG of another kind: npm install sharp");
  const parts = [];
  let palette;
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at), name = file.toString("latin1", at + 4, at + 8);
    const content = file.subarray(at + 8, at + 8 + length);
    if (name === "IDAT") parts.push(content);
    if (name === "PLTE") palette = content;
    at += length + 12;
  }
  const data = inflateSync(Buffer.concat(parts)), stride = width * samples;
  const lines = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x < samples ? 0 : lines[y * stride + x - samples];
      const up = y ? lines[(y - 1) * stride + x] : 0;
      const corner = y && x >= samples ? lines[(y - 1) * stride + x - samples] : 0;
      const guess = left + up - corner;
      const [a, b, c] = [left, up, corner].map((value) => Math.abs(guess - value));
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      const predicted = [0, left, up, (left + up) >> 1, paeth][filter];
      lines[y * stride + x] = data[y * (stride + 1) + 1 + x] + predicted;
    }
  }
  if (samples >= 3) return { pixels: lines, width, height, channels: samples };
  const pixels = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const value = lines[i * samples];
    const colour = palette ? palette.subarray(3 * value, 3 * value + 3) : [value, value, value];
    pixels.set(colour, 3 * i);
  }
  return { pixels, width, height, channels: 3 };
}

async function classify(session, path) {
  const { pixels, width, height, channels } = await decoded(path);
  const bytes = fit(pixels, width, height, channels, TRANSFORM);
  const { size } = TRANSFORM;
  const tensor = PIXELS
    ? new ort.Tensor("uint8", bytes, [1, size, size, 3])
    : new ort.Tensor("float32", normalise(bytes, TRANSFORM), [1, 3, size, size]);
  const start = performance.now();
  const results = await session.run({ [INPUT]: tensor });
  return { logits: Array.from(results[OUTPUT].data), milliseconds: performance.now() - start };
}

const images = process.argv.slice(2).filter((argument) => argument !== "--json");
const names = (await readFile(new URL("labels.txt", import.meta.url), "utf8")).split("\n");
const session = await ort.InferenceSession.create(await readFile(FILE));
for (const image of images) {
  const { logits, milliseconds } = await classify(session, image);
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ image, logits, milliseconds }));
    continue;
  }
  console.log(`${image}: ${milliseconds.toFixed(1)} ms`);
  for (const { index, name, probability } of best(logits, names)) {
    console.log(`  ${(100 * probability).toFixed(2).padStart(6)}%  ${index} ${name}`);
  }
}
