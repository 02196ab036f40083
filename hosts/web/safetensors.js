// Tensors in a safetensors file: name → { dtype, shape, data }. Throws an Error where the file is none.

const ARRAYS = { F32: Float32Array, I32: Int32Array, I64: BigInt64Array };
const NAMES = { F32: "float32", I32: "int32", I64: "int64" };
const HEADER_BYTES = 8;

export function readTensors(bytes, name) {
  try {
    const length = Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, HEADER_BYTES, length)));
    delete header.__metadata__;
    const start = HEADER_BYTES + length;
    return Object.fromEntries(Object.entries(header).map(([key, facts]) => [key, tensor(bytes, start, facts)]));
  } catch {
    throw new Error(`${name} is damaged. Export the model again.`);
  }
}

// A copy, because the file's numbers need not lie where an array may begin.
function tensor(bytes, start, { dtype, shape, data_offsets: [from, to] }) {
  if (start + to > bytes.byteLength) throw new RangeError("the file ends too early");
  return { dtype: NAMES[dtype], shape, data: new ARRAYS[dtype](bytes.slice(start + from, start + to)) };
}
