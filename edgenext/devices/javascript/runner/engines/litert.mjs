// TFLite files in LiteRT.js, with XNNPACK in WebAssembly.

export class LiteRt {
  // `place` says where this runs: packages (a URL), threads.
  constructor(artifact, place) {
    this.artifact = artifact;
    this.place = place;
    this.runtime = "litert.js";
    this.fallbacks = place.fallbacks;
    this.unit = place.unit;
  }

  // Load the engine, which is no part of the time to load an artifact.
  async preload() {
    const { packages, threads } = this.place;
    const folder = `${packages}/@litertjs/core/wasm/`;
    this.litert = await importWith(
      `${packages}/@litertjs/core/dist/index.js`,
      "@litertjs/wasm-utils",
      `${packages}/@litertjs/wasm-utils/dist/index.js`,
    );
    // without these it looks for its parts beside this worker's own script
    const mainScriptUrlOrBlob = `${folder}litert_wasm_threaded_internal.js`;
    self.Module = { locateFile: (name) => folder + name, mainScriptUrlOrBlob };
    await this.litert.loadLiteRt(folder, { threads: threads > 1 });
  }

  async load(content) {
    const cpuOptions = { numThreads: this.place.threads };
    this.model = await this.litert.loadAndCompile(content, { accelerator: "wasm", cpuOptions });
  }

  // The logits of a prepared batch, float32.
  async infer({ data, dims }) {
    const input = new this.litert.Tensor(data, dims);
    const outputs = await this.model.run([input]);
    const logits = Float32Array.from(await outputs[0].data());
    [input, ...outputs].forEach((tensor) => tensor.deleted || tensor.delete());
    return logits;
  }
}

// Import a module whose one import by name has no address here: workers have no import maps.
async function importWith(url, name, address) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be read`);
  const source = (await response.text()).replaceAll(`"${name}"`, JSON.stringify(address));
  return import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
}
