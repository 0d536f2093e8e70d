// One artifact, loaded and warm: the protocol of a measurement, whatever the engine.

import { noise, prepare } from "./prepare.mjs";

const MIN_BURST = 3;
const MAX_BURST = 400;
const WINDOW = 5; // inferences in each of the two medians that the warm-up compares
const SHORTEST_MS = 1e-3; // a timer with coarse steps reads 0
const COARSE = 0.05; // share of an inference that a step of the timer may be

export class ArtifactSession {
  // `engine` loads the file and runs it: see engines/.
  constructor(job, artifact, engine) {
    this.job = job;
    this.artifact = artifact;
    this.engine = engine;
    this.batch = artifact.input.shape[0] > 0 ? artifact.input.shape[0] : job.batch;
  }

  // Load the file's content and warm up; the facts of the event `ready`.
  async load(content) {
    const start = performance.now();
    await this.engine.load(content);
    const loadMs = performance.now() - start;
    const { input } = this.artifact;
    const pixels = noise(input.shape, this.batch, this.job.seed);
    this.input = prepare(pixels, input, this.batch, this.job);
    const firstMs = await this.timed();
    const warm = await this.warmUp();
    const sampleMs = median(warm.slice(-WINDOW));
    const burst = Math.ceil(this.job.burst_ms / sampleMs);
    return {
      ready: {
        runtime: this.engine.runtime,
        batch: this.batch,
        burst: Math.max(MIN_BURST, Math.min(MAX_BURST, burst)),
        load_ms: loadMs,
        first_ms: firstMs,
        warmup: warm.length,
        settled: this.isSettled(warm),
        fallback: [...this.engine.fallbacks, ...coarseTimer(sampleMs)].join("; "),
      },
      unit: this.engine.unit,
    };
  }

  // Wall time of one inference in ms.
  async timed() {
    const start = performance.now();
    await this.engine.infer(this.input);
    return Math.max(performance.now() - start, SHORTEST_MS);
  }

  // Times of inferences in ms until they settle, or to the limits of the job.
  async warmUp() {
    const samples = [];
    const end = performance.now() + 1000 * this.job.max_warmup_s;
    while (!this.isSettled(samples)) {
      const isLate = samples.length >= this.job.max_warmup || performance.now() > end;
      if (isLate && samples.length >= this.job.min_warmup) break;
      samples.push(await this.timed());
    }
    return samples;
  }

  // Whether the median of the last inferences is near the median before them.
  isSettled(samples) {
    if (samples.length < Math.max(this.job.min_warmup, 2 * WINDOW)) return false;
    const before = median(samples.slice(-2 * WINDOW, -WINDOW));
    return Math.abs(median(samples.slice(-WINDOW)) - before) < this.job.settled * before;
  }

  // Wall times of n inferences in ms, after one that is not counted.
  async burst(n) {
    await this.engine.infer(this.input);
    const samples = [];
    for (let i = 0; i < n; i++) samples.push(await this.timed());
    return { samples_ms: samples };
  }

  // Logits of N×H×W×3 uint8 images: N×K float32.
  async logits(pixels, n) {
    const size = pixels.length / n;
    const rows = [];
    for (let done = 0; done < n; done += this.batch) {
      const count = Math.min(this.batch, n - done);
      const chunk = new Uint8Array(this.batch * size);
      for (let i = 0; i < this.batch; i++) {
        const image = done + (i % count);
        chunk.set(pixels.subarray(image * size, (image + 1) * size), i * size);
      }
      const input = prepare(chunk, this.artifact.input, this.batch, this.job);
      const values = await this.engine.infer(input);
      rows.push(values.slice(0, (values.length / this.batch) * count));
    }
    const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
    rows.reduce((offset, row) => (all.set(row, offset), offset + row.length), 0);
    return all;
  }
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// What is wrong with a timer whose steps are too long for an inference; nothing else.
function coarseTimer(sampleMs) {
  let step = Infinity;
  let last = performance.now();
  for (let seen = 0; seen < 20; ) {
    const now = performance.now();
    if (now > last) {
      step = Math.min(step, now - last);
      seen += 1;
    }
    last = now;
  }
  if (step <= COARSE * sampleMs) return [];
  return [`the timer has steps of ${step.toFixed(3)} ms for inferences of ${sampleMs.toFixed(3)} ms`];
}
