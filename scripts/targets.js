// Runs an ONNX model in WebAssembly for scripts/targets.py: images come through standard input, outputs go to standard
// output, each after its three dimensions. Node.js finds onnxruntime-web through NODE_PATH.
const ort = require("onnxruntime-web"), size = Number(process.argv[3]);
(async () => {
  const session = await ort.InferenceSession.create(process.argv[2]);
  let waiting = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    waiting = Buffer.concat([waiting, chunk]);
    if (waiting.length < 12 * size * size) continue;
    const pixels = new Float32Array(new Uint8Array(waiting).buffer);
    waiting = Buffer.alloc(0);
    const image = new ort.Tensor("float32", pixels, [1, 3, size, size]);
    const output = (await session.run({images: image})).output0;
    process.stdout.write(Buffer.from(new Int32Array(output.dims).buffer));
    process.stdout.write(Buffer.from(output.data.buffer, output.data.byteOffset, 4 * output.size));
  }
})();
