/**
 * Starts a program of dist/code with what V8 compiled of it when tsvmm was built (scripts/compile-ahead.js). Any thread.
 *
 * V8 compiles a program anew in every process and every worker, which takes longer than all the rest of a small machine's
 * start. Compiled code of another V8, of other flags or of a text of another length is refused by V8 itself; that it belongs
 * to this very text is told by the hash that both end with. Without it everything works, only later. It is trusted as the text
 * beside it is: neither's content is looked at.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

/** A line comment with 64 digits (scripts/compile-ahead.js). */
const hashLength = '\n//'.length + 64;

/**
 * The code is a function of `require`, the name of the file that starts it, and what that hands over to it; the build makes
 * it one (scripts/build.js).
 */
export function startBundle(name: string, require: NodeJS.Require, starter: string, handed?: unknown): void {
  const folder = `${dirname(starter)}/code`;
  const filename = `${folder}/${name}.js`;
  const text = readFileSync(filename, 'latin1'); // esbuild writes ASCII
  const script = new Script(text, { filename, cachedData: compiledFrom(text, `${folder}/${name}`) });
  script.runInThisContext()(require, starter, handed);
}

function compiledFrom(text: string, program: string): Buffer | undefined {
  let code: Buffer;
  try {
    code = readFileSync(`${program}.${process.version}-${process.arch}`);
  } catch {
    return undefined; // nothing was compiled for this Node
  }
  const belongs = code.subarray(-hashLength).toString('latin1') === text.slice(-hashLength);
  return belongs ? code.subarray(0, -hashLength) : undefined;
}
