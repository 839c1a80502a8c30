/**
 * Whether this runtime can carry the native addon. Bun, Deno and Electron abort inside it instead of failing to load it
 * (contract §1.10), so they are told by their version, before anything of ours starts. Any thread; imports nothing.
 */
const oldest = [20, 19] as const;

/** What a program needs under Node's permission model, besides its own files. */
export const permissionFlags = '--allow-addons --allow-worker --allow-fs-read=* --allow-fs-write=/dev/kvm';

/** What is wrong with this runtime for tsvmm, or undefined. */
export function whyNotThisRuntime(): { readonly message: string; readonly hint: string } | undefined {
  const { versions } = process;
  const hint = `run it with Node.js ${oldest.join('.')} or newer`;
  // Electron run as Node (ELECTRON_RUN_AS_NODE) is Electron all the same: its V8 allows no memory outside its cage.
  const other = ['bun', 'deno', 'electron'].find((name) => versions[name] !== undefined);
  if (other !== undefined) return { message: `tsvmm needs Node.js; this is ${other} ${versions[other]}`, hint };
  const [major = 0, minor = 0] = versions.node.split('.').map(Number);
  if (major > oldest[0] || (major === oldest[0] && minor >= oldest[1])) return undefined;
  return { message: `tsvmm needs Node.js ${oldest.join('.')} or newer; this is ${versions.node}`, hint };
}
