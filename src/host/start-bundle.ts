/**
 * Starts a program of dist/code with what V8 compiled of it: when tsvmm was built (scripts/compile-ahead.js), or at an earlier
 * start of the command (code-cache.ts). Any thread.
 *
 * V8 compiles a program anew in every process and every worker, which takes longer than all the rest of a small machine's
 * start. Compiled code of another V8, of other flags or of a text of another length is refused by V8 itself; that it belongs
 * to this very text is told by the hash that both end with. Without it everything works, only later. It is trusted as the text
 * beside it is: neither's content is looked at.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Script } from 'node:vm';
import { readCode, writeCode } from './code-cache.js';

/** A line comment with 64 digits (scripts/compile-ahead.js). */
const hashLength = '\n//'.length + 64;

export interface BundleOptions {
  /** What the program finds as `handed`. */
  readonly handed?: unknown;
  /** Where its compiled code is kept between starts (code-cache.ts). */
  readonly cache?: string | undefined;
}

/**
 * The code is a function of `require`, the name of the file that starts it, what that hands over to it, and `keepCode`, which it
 * calls when it has done most of what it does, so that most of it is compiled; the build makes it one (scripts/build.js).
 */
export function startBundle(
  name: string,
  require: NodeJS.Require,
  starter: string,
  { handed, cache }: BundleOptions = {},
): void {
  const folder = `${dirname(starter)}/code`;
  const filename = `${folder}/${name}.js`;
  const text = readFileSync(filename, 'latin1'); // esbuild writes ASCII
  const hash = text.slice(-hashLength);
  const kept = `${name}-${hash.slice(-16)}`;
  const ahead = codeOf(hash, compiledAhead(`${folder}/${name}`));
  const cachedData = ahead ?? (cache === undefined ? undefined : codeOf(hash, readCode(cache, kept)));
  const script = new Script(text, { filename, cachedData });
  let isKept = ahead !== undefined || (cachedData !== undefined && script.cachedDataRejected !== true);
  const keepCode = (): void => {
    if (isKept || cache === undefined) return;
    isKept = true;
    writeCode(cache, kept, Buffer.concat([script.createCachedData(), Buffer.from(hash, 'latin1')]));
  };
  script.runInThisContext()(require, starter, handed, keepCode);
}

function compiledAhead(program: string): Buffer | undefined {
  try {
    return readFileSync(`${program}.${process.version}-${process.arch}`);
  } catch {
    return undefined; // nothing was compiled for this Node
  }
}

function codeOf(hash: string, file: Buffer | undefined): Buffer | undefined {
  const belongs = file?.subarray(-hashLength).toString('latin1') === hash;
  return belongs ? file?.subarray(0, -hashLength) : undefined;
}
