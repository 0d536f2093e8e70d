// What a browser is, and the platform of `measure.mjs` in it.

import { sha256 } from "./hash.mjs";

const REST_MS = 50; // until the idle threads of an engine sleep
// A module with one v128 instruction, and the same with a relaxed one.
const FEATURES = {
  simd128: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0,
    253, 15, 253, 98, 11],
  relaxed_simd: [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0,
    65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
};
const VERSIONS = ["onnxruntime-web", "@litertjs/core"];

// The features of WebAssembly here.
export function features() {
  const isThreaded = globalThis.crossOriginIsolated && typeof SharedArrayBuffer === "function";
  const known = Object.entries(FEATURES).filter(([, bytes]) => WebAssembly.validate(new Uint8Array(bytes)));
  return ["wasm", ...known.map(([name]) => name), ...(isThreaded ? ["threads"] : [])];
}

// The GPU behind WebGPU; null if there is none.
export async function gpuAdapter() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return null;
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info ?? {};
  const name = [vendor, architecture, device, description].filter(Boolean).join(" ") || "unnamed";
  return { name, isSoftware: Boolean(isFallbackAdapter) || /swiftshader|llvmpipe|software/i.test(name) };
}

// Everything that a browser says of itself: the fields of `start` in the protocol.
export async function browserFacts(packages, adapter) {
  const versions = {};
  for (const name of VERSIONS) {
    versions[name] = (await (await fetch(`${packages}/${name}/package.json`)).json()).version;
  }
  const brands = navigator.userAgentData?.brands?.filter(({ brand }) => !/not.*brand/i.test(brand)) ?? [];
  const model = brands.length ? `${brands.at(-1).brand} ${brands.at(-1).version}` : navigator.userAgent;
  const os = navigator.userAgentData?.platform || navigator.platform || "unknown";
  const cores = navigator.hardwareConcurrency || 1;
  const memoryGb = navigator.deviceMemory ?? 0; // at most 8, whatever there is
  const isa = features();
  const notes = isa.includes("threads") ? [] : [`${NOT_ISOLATED}: one thread, and a coarse timer`];
  if (adapter?.isSoftware) notes.push("WebGPU is emulated on the CPU here");
  const facts = {
    kind: "web", model, os, cores, isa, adapter: adapter?.name ?? "", notes,
    software: { ...versions, "user agent": navigator.userAgent },
    providers: ["wasm", ...(adapter ? ["webgpu"] : [])],
  };
  const environment = {
    cpu: os, isa, cores, memory_gb: memoryGb, os: navigator.userAgent, python: "", packages: versions,
  };
  return { environment, facts };
}

const NOT_ISOLATED = "the page is not cross-origin isolated";

// The platform of a job in this page. `base` is the page's address, `onEvent` is told of events.
export async function browserPlatform(job, base, onEvent) {
  const packages = new URL("packages", base).href;
  const adapter = await gpuAdapter();
  const isa = features();
  const { session } = await (await post(new URL("claim", base), "")).json();
  const address = (name, query) => new URL(`${name}?${new URLSearchParams({ session, ...query })}`, base);
  const threads = isa.includes("threads") ? job.threads : 1;
  const fallbacks = threads < job.threads ? [`it ran on one thread, because ${NOT_ISOLATED}`] : [];
  const encode = (text) => new TextEncoder().encode(text);
  let lines = ""; // all that were sent: the last one has their sha256
  const place = { base, packages, threads, fallbacks, unit: job.artifacts[0].unit, adapter };
  return {
    facts: () => browserFacts(packages, adapter),
    start(index) {
      requireFeatures(job, isa, adapter);
      return startWorker(job, index, place);
    },
    rest: () => (threads > 1 ? new Promise((resolve) => setTimeout(resolve, REST_MS)) : null),
    async images(offset, size) {
      const headers = { Range: `bytes=${offset}-${offset + size - 1}` };
      const response = await fetch(new URL("images", base), { headers });
      const pixels = new Uint8Array(await response.arrayBuffer());
      if (!response.ok || pixels.length !== size) throw new Error("the images cannot be read");
      return pixels;
    },
    async emit(event) {
      const whole = event.event === "done" ? { ...event, sha256: await sha256(encode(lines), packages) } : event;
      const line = `${JSON.stringify(whole)}\n`;
      await post(address("events"), line);
      lines += line;
      onEvent(event);
    },
    async logits(artifact, blob) {
      const bytes = new Uint8Array(await blob.arrayBuffer());
      const digest = await sha256(bytes, packages);
      await post(address("logits", { artifact, sha256: digest }), bytes);
      return digest;
    },
  };
}

// Refuse what cannot run here, in words.
function requireFeatures(job, isa, adapter) {
  if (!isa.includes("simd128")) {
    throw new Error("this browser has no WebAssembly SIMD, which every engine needs: use a newer one");
  }
  if (job.artifacts[0].unit === "gpu" && !adapter) {
    throw new Error("this browser offers no WebGPU adapter: leave out --unit gpu");
  }
}

// A worker with one artifact.
async function startWorker(job, index, place) {
  const worker = new Worker(new URL("worker.js", import.meta.url));
  const name = job.artifacts[index].name;
  const call = (...message) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) =>
        "error" in data ? reject(new Error(`${name}: ${data.error}`)) : resolve(data.result);
      worker.onerror = (event) => reject(new Error(`${name}: ${event.message ?? "its worker failed"}`));
      worker.postMessage(message);
    });
  await call("open", job, index, place);
  return { call, close: () => worker.terminate() };
}

async function post(address, body) {
  const response = await fetch(address, { method: "POST", body });
  if (!response.ok) throw new Error(await response.text());
  return response;
}
