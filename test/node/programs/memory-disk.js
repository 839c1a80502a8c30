/** A disk in the shared memory that it is given, as functions: for this thread (`Disk.from`), or for a worker (`Disk.fromModule`). */

/** @param {SharedArrayBuffer} memory */
export default async function memoryDisk(memory) {
  const content = Buffer.from(memory);
  return {
    size: content.length,
    read: async (offset, into) => void content.copy(into, 0, offset, offset + into.length),
    write: async (offset, data) => void data.copy(content, offset),
    flush: async () => {},
    async discard(offset, length, { signal }) {
      signal.throwIfAborted();
      content.fill(0, offset, offset + length);
    },
  };
}
