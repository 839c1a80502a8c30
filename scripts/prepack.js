/**
 * Before `npm pack` and `npm publish`: builds what is out of date and puts the addon where the package carries it,
 * prebuilds/linux-ARCH-LIBC.node, so that an installation compiles nothing and runs no script.
 *
 *   node scripts/prepack.js [--built]      --built: everything is built, whatever its sources say
 */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap, runScript } from './bootstrap.js';
import { projectRoot } from './inputs.js';

await runScript(async () => {
  if (!process.argv.includes('--built')) await bootstrap();
  /** @type {{ header?: { glibcVersionRuntime?: string } }} */
  const report = /** @type {any} */ (process.report.getReport());
  const libc = report.header?.glibcVersionRuntime === undefined ? 'musl' : 'gnu';
  mkdirSync(join(projectRoot, 'prebuilds'), { recursive: true });
  const target = join(projectRoot, `prebuilds/${process.platform}-${process.arch}-${libc}.node`);
  copyFileSync(join(projectRoot, 'build/Release/tsvmm.node'), target);
  return 0;
});
