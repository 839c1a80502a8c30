/** A disk of functions whose content is a file: for a module's worker. `data` is the file's path. */
import { open } from 'node:fs/promises';

/** @param {string} path */
export default async function fileDisk(path) {
  const file = await open(path, 'r+');
  const { size } = await file.stat();
  return {
    size,
    async read(offset, into) {
      const { bytesRead } = await file.read(into, 0, into.length, offset);
      return into.subarray(0, bytesRead); // a file that is too short is an error, and not zeroes
    },
    async write(offset, data) {
      for (let done = 0; done < data.length; ) {
        const { bytesWritten } = await file.write(data, done, data.length - done, offset + done);
        done += bytesWritten;
      }
    },
    flush: () => file.datasync(),
  };
}
