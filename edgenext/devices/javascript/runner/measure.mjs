// A job: latency of all artifacts in turn, then their logits. The same in a browser and in Node.
//
// `platform` has what differs: `start(index)` makes a place for an artifact of the job, with
// `call(method, ...arguments)` and `close()`; `facts()` says where this runs; `emit(event)` and
// `logits(sha256, values)` take the results; `images(offset, size)` has bytes of the pixels; `rest()`
// is waited for between two artifacts.

const CHUNK = 16; // images between two events about logits

export async function measure(job, platform) {
  const places = [];
  try {
    await platform.emit({ event: "start", protocol: job.protocol, job: job.job, ...(await platform.facts()) });
    await latencies(job, platform, places);
    if (job.images) await allLogits(job, platform, places);
    await platform.emit({ event: "done" });
  } finally {
    places.forEach((place) => place.close());
  }
}

// Load all artifacts, and the first a second time, then run rounds in turn.
async function latencies(job, platform, places) {
  const turns = [];
  const indices = [...job.artifacts.keys(), ...(job.repeat_base ? [0] : [])];
  for (const [turn, index] of indices.entries()) {
    const artifact = job.artifacts[index].sha256;
    const mark = turn >= job.artifacts.length ? { second: true } : {};
    const place = await platform.start(index);
    places.push(place);
    const answer = await place.call("load");
    await platform.emit({ event: "ready", artifact, ...mark, ...answer });
    turns.push({ place, artifact, mark, burst: answer.ready.burst });
  }
  await rounds(job, platform, turns);
  for (const { place, artifact, mark } of turns) {
    const peak = await place.call("peak");
    if (peak && !mark.second) await platform.emit({ event: "peak", artifact, ...peak });
  }
}

// Bursts in the order A B C A B C ….
async function rounds(job, platform, turns) {
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  for (let round = 0; round < job.rounds || elapsed() < job.sustained_s; round++) {
    for (const { place, artifact, mark, burst } of turns) {
      await platform.rest();
      const answer = await place.call("burst", burst);
      await platform.emit({ event: "round", artifact, round, at_s: elapsed(), ...mark, ...answer });
    }
  }
}

async function allLogits(job, platform, places) {
  const [total, ...sides] = job.images.shape;
  const size = sides.reduce((product, side) => product * side, 1);
  for (const [index, { sha256: artifact }] of job.artifacts.entries()) {
    const parts = [];
    for (let done = 0; done < total; ) {
      const n = Math.min(CHUNK, total - done);
      const chunk = await platform.images(done * size, n * size);
      parts.push(await places[index].call("logits", chunk, n));
      done += n;
      if (done < total) await platform.emit({ event: "logits", artifact, done, total });
    }
    const digest = await platform.logits(artifact, new Blob(parts));
    await platform.emit({ event: "logits", artifact, done: total, total, sha256: digest });
  }
}
