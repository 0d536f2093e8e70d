// The runner in Node: node node.mjs JOB FILES PACKAGES OUT CPUS. It prints the events, one a line,
// and writes the logits into the folder OUT. FILES has the artifacts by sha256, and the images.
// Each artifact runs in a process of its own, which is this program with --worker. It ends with its
// standard input.

import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";

import { OnnxruntimeNode } from "./engines/onnxruntime_node.mjs";
import { measure } from "./measure.mjs";
import { ArtifactSession } from "./session.mjs";

const MIB = 1 << 20;
const [jobFile, files, packages, out, cpus] = process.argv.slice(2).filter((word) => word !== "--worker");
const job = JSON.parse(readFileSync(jobFile, "utf8"));

function nodeFacts() {
  const version = createRequire(`${packages}/`)("onnxruntime-node/package.json").version;
  const versions = { node: process.versions.node, "onnxruntime-node": version };
  const { model } = os.cpus()[0] ?? {};
  const facts = {
    kind: "node", model: `Node ${process.versions.node}`, cores: os.cpus().length, software: versions,
    machine: os.machine(), os: `${os.type()} ${os.release()}`, soc: model ?? "",
    memory_mb: Math.round(os.totalmem() / MIB),
  };
  const environment = {
    cpu: model || os.machine(), isa: [], cores: os.cpus().length, packages: versions, python: "",
    memory_gb: Math.round(os.totalmem() / (MIB * 102.4)) / 10, os: facts.os,
  };
  return { environment, facts };
}

const children = new Set();

// A process with one artifact. Its idle threads would spin while another artifact runs.
async function startProcess(index) {
  const child = fork(process.argv[1], ["--worker", ...process.argv.slice(2)], {
    serialization: "advanced",
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  children.add(child);
  const { name } = job.artifacts[index];
  const mustPause = job.threads > 1 && process.platform !== "win32";
  const call = (...message) =>
    new Promise((resolve, reject) => {
      const onExit = (code, signal) =>
        reject(new Error(`the process that runs ${name} ended with ${signal ?? `exit code ${code}`}`));
      child.once("exit", onExit);
      child.once("message", ({ result, error }) => {
        child.off("exit", onExit);
        if (mustPause) child.kill("SIGSTOP");
        if (error === undefined) resolve(result);
        else reject(new Error(`${name}: ${error}`));
      });
      if (mustPause) child.kill("SIGCONT");
      child.send(message);
    });
  await call("open", index);
  return { call, close: () => child.kill("SIGKILL") };
}

function emit(event) {
  const placed = event.event === "ready" ? { ...event, ready: { ...event.ready, cpus: JSON.parse(cpus) } } : event;
  process.stdout.write(`${JSON.stringify(placed)}\n`);
}

const PLATFORM = {
  facts: nodeFacts,
  start: startProcess,
  rest: () => null,
  images(offset, size) {
    const pixels = new Uint8Array(size);
    const file = openSync(path.join(files, "images.u8"));
    readSync(file, pixels, 0, size, offset);
    closeSync(file);
    return pixels;
  },
  emit,
  async logits(artifact, blob) {
    const bytes = Buffer.from(await blob.arrayBuffer());
    writeFileSync(path.join(out, `logits-${artifact}.f32`), bytes);
    return createHash("sha256").update(bytes).digest("hex");
  },
};

let session;
let index;
let emptyKib;
const METHODS = {
  async open(chosen) {
    index = chosen;
    const place = { packages, threads: job.threads };
    const engine = new OnnxruntimeNode(job.artifacts[index], place);
    await engine.preload();
    session = new ArtifactSession(job, job.artifacts[index], engine);
    emptyKib = process.resourceUsage().maxRSS;
    return true;
  },
  load: () => session.load(readFileSync(path.join(files, job.artifacts[index].sha256))),
  burst: (n) => session.burst(n),
  logits: (pixels, n) => session.logits(pixels, n),
  peak: () => ({ peak_rss_mb: Math.max(process.resourceUsage().maxRSS - emptyKib, 0) / 1024 }),
};

if (process.argv.includes("--worker")) {
  process.on("disconnect", () => process.exit());
  process.on("SIGINT", () => {});
  process.on("message", async ([method, ...values]) => {
    try {
      process.send({ result: await METHODS[method](...values) });
    } catch (error) {
      process.send({ error: String(error?.message ?? error) });
    }
  });
} else if (job === null) {
  process.stdout.write(`${JSON.stringify(nodeFacts().facts)}\n`);
} else {
  process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));
  process.stdin.on("end", () => process.exit(1)).resume();
  try {
    await measure(job, PLATFORM);
  } catch (error) {
    emit({ event: "error", message: String(error?.message ?? error) });
  }
  process.stdin.destroy();
}
