// The page: it takes the job, measures, sends the results, and says how far it is.

import { browserFacts, browserPlatform, gpuAdapter } from "./browser.mjs";
import { measure } from "./measure.mjs";

const element = (id) => document.getElementById(id);

function show(status, share) {
  element("status").textContent = status;
  if (share !== undefined) element("progress").value = share;
}

// How far the job is, from an event.
function showEvent(job, { event, artifact, round, done, total, second }) {
  const name = job.artifacts.find(({ sha256 }) => sha256 === artifact)?.name;
  if (event === "ready") show(`loaded ${name}${second ? " again" : ""}`);
  if (event === "round") show(`round ${round + 1} of ${job.rounds}`, (round + 1) / job.rounds);
  if (event === "logits") show(`${name}: image ${done} of ${total}`, done / total);
  if (event === "done") show("Done. You can close this page.", 1);
}

async function run() {
  const base = new URL(".", location.href).href;
  const job = await (await fetch("job.json")).json();
  if (!job) {
    // nothing to measure: only what this browser is
    return (await browserFacts(new URL("packages", base).href, await gpuAdapter())).facts;
  }
  element("files").replaceChildren(
    ...job.artifacts.map(({ name }) => Object.assign(document.createElement("li"), { textContent: name })),
  );
  let platform;
  try {
    const lock = navigator.wakeLock?.request("screen").catch(() => null);
    platform = await browserPlatform(job, base, (event) => showEvent(job, event));
    await measure(job, platform);
    (await lock)?.release();
    return {};
  } catch (error) {
    const message = String(error?.message ?? error);
    show(message);
    await platform?.emit({ event: "error", message }).catch(() => {});
    return { error: message };
  }
}

globalThis.outcome = run();
