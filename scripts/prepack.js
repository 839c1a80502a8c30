/**
 * Before `npm pack` and `npm publish`: builds what is out of date, the addons of both architectures among it, so that an
 * installation compiles nothing and runs no script.
 *
 *   node scripts/prepack.js [--built]      --built: for the tests; dist/ is built, whatever its sources say, and an addon
 *                                          that no compiler is there for is left out
 */
import { bootstrap, runScript } from './bootstrap.js';
import { architectures, canBuild, prebuild } from './prebuild.js';

await runScript(async () => {
  const built = process.argv.includes('--built');
  if (!built) await bootstrap({ packages: ['cross'], why: 'build the package' });
  prebuild(built ? architectures.filter(canBuild) : architectures);
  return 0;
});
