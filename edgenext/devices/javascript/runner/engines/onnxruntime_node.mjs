// ONNX files in onnxruntime-node.

import { createRequire } from "node:module";

export class OnnxruntimeNode {
  // `place` says where this runs: packages (a folder), threads.
  constructor(artifact, place) {
    this.artifact = artifact;
    this.place = place;
    this.runtime = "onnxruntime-node";
    this.fallbacks = [];
    this.unit = "cpu";
  }

  // Load the engine, which is no part of the time or memory of an artifact.
  async preload() {
    this.ort = createRequire(`${this.place.packages}/`)("onnxruntime-node");
  }

  async load(content) {
    this.session = await this.ort.InferenceSession.create(content, {
      executionProviders: ["cpu"],
      interOpNumThreads: 1,
      intraOpNumThreads: this.place.threads,
      logSeverityLevel: 3,
    });
  }

  // The logits of a prepared batch, float32.
  async infer({ data, dims }) {
    const type = data instanceof Uint8Array ? "uint8" : "float32";
    const input = new this.ort.Tensor(type, data, dims);
    const outputs = await this.session.run({ [this.artifact.input.name]: input }, [this.artifact.output]);
    return Float32Array.from(outputs[this.artifact.output].data);
  }
}
