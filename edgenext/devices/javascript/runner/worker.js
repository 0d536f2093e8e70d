// One artifact in a worker of its own. A classic script: LiteRT.js loads scripts, which no module
// worker can. Each message is a call, [method, ...arguments]; the answer is its result or error.

const ENGINES = {
  onnx: ["./engines/onnxruntime_web.mjs", "OnnxruntimeWeb"],
  tflite: ["./engines/litert.mjs", "LiteRt"],
};
let session;
let content;

const METHODS = {
  // Fetch the artifact and load its engine.
  async open(job, index, place) {
    const artifact = job.artifacts[index];
    const [path, name] = ENGINES[artifact.format];
    const [{ [name]: Engine }, { ArtifactSession }, { sha256 }] = await Promise.all([
      import(path),
      import("./session.mjs"),
      import("./hash.mjs"),
    ]);
    const response = await fetch(new URL(`files/${artifact.sha256}`, place.base));
    content = new Uint8Array(await response.arrayBuffer());
    if (!response.ok || (await sha256(content, place.packages)) !== artifact.sha256) {
      throw new Error("the file did not arrive as it is");
    }
    const engine = new Engine(artifact, place);
    await engine.preload();
    session = new ArtifactSession(job, artifact, engine);
  },
  async load() {
    const facts = await session.load(content);
    content = undefined;
    return facts;
  },
  burst: (n) => session.burst(n),
  logits: (pixels, n) => session.logits(pixels, n),
  peak: () => null, // a page cannot measure its memory
};

self.onmessage = async ({ data: [method, ...values] }) => {
  try {
    self.postMessage({ result: await METHODS[method](...values) });
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
