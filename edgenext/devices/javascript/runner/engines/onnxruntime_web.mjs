// ONNX files in onnxruntime-web: WebAssembly, or WebGPU.

export class OnnxruntimeWeb {
  // `place` says where this runs: packages (a URL), threads, unit, adapter.
  constructor(artifact, place) {
    this.artifact = artifact;
    this.place = place;
    this.runtime = "onnxruntime-web";
    this.fallbacks = place.fallbacks;
    this.unit = place.unit === "gpu" && place.adapter.isSoftware ? "cpu" : place.unit;
  }

  // Load the engine, which is no part of the time to load an artifact.
  async preload() {
    const folder = `${this.place.packages}/onnxruntime-web/dist/`;
    const isGpu = this.place.unit === "gpu";
    this.ort = await import(`${folder}${isGpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"}`);
    this.ort.env.logLevel = "error";
    this.ort.env.wasm.wasmPaths = folder;
    this.ort.env.wasm.numThreads = this.place.threads;
    this.options = {
      executionProviders: [isGpu ? "webgpu" : "wasm"],
      logSeverityLevel: 3,
    };
    // there is no call that only starts the engine: an empty file does so, and is then refused
    await this.ort.InferenceSession.create(new Uint8Array(0), this.options).catch(() => {});
  }

  async load(content) {
    this.session = await this.ort.InferenceSession.create(content, this.options);
  }

  // The logits of a prepared batch, float32.
  async infer({ data, dims }) {
    const type = data instanceof Uint8Array ? "uint8" : "float32";
    const input = new this.ort.Tensor(type, data, dims);
    const outputs = await this.session.run({ [this.artifact.input.name]: input }, [this.artifact.output]);
    return Float32Array.from(outputs[this.artifact.output].data);
  }
}
