/** SHA-256. Any thread. node:crypto takes 9 ms to load, so it is loaded when something is hashed. */
const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto');

/** At once: for a few kilobytes. */
export const sha256 = (bytes: Uint8Array): Buffer => crypto().hash('sha256', bytes, 'buffer');

/** By a thread of libuv's pool; this one copies `bytes`. */
export const sha256Later = async (bytes: Uint8Array): Promise<Buffer> =>
  Buffer.from(await crypto().webcrypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
