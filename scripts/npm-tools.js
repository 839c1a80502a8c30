/**
 * What only tests run and npm carries: other Nodes, other runtimes, what programs are built and tested with. They go into the
 * cache, not into the project's own node_modules; exact versions and sha512 hashes are in
 * test/node/packages/NAME/package-lock.json.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefactPath, ensureArtefact, keyOf, projectRoot } from './lab/cache.js';
import { LabError } from './lab/tools.js';

/** @typedef {'runtimes' | 'consumers' | 'arm64'} NpmTools */

const files = ['package.json', 'package-lock.json'];
/** npm refuses another architecture's packages unless it is named. @type {Partial<Record<NpmTools, string>>} */
const architectures = { arm64: 'arm64' };
const source = (/** @type {NpmTools} */ name) => join(projectRoot, 'test/node/packages', name);
const keyOfTools = (/** @type {NpmTools} */ name) =>
  keyOf(
    [],
    files.map((file) => join(source(name), file)),
  );

/** Where `ensureNpmTools` puts them. @param {NpmTools} name */
export const npmToolsFolder = (name) => join(artefactPath(`npm-${name}`, keyOfTools(name)), 'node_modules');

/** Installs them if they are not there; nothing of them runs. @param {NpmTools} name */
export function ensureNpmTools(name) {
  return ensureArtefact(`npm-${name}`, keyOfTools(name), async (directory) => {
    console.error(`installing ${name} for the tests from npm`);
    for (const file of files) copyFileSync(join(source(name), file), join(directory, file));
    const { status, error } = spawnSync(
      'npm',
      [
        ...['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
        `--cpu=${architectures[name] ?? process.arch}`,
      ],
      { cwd: directory, stdio: ['ignore', 2, 2], timeout: 10 * 60_000 },
    );
    if (status !== 0)
      throw new LabError(`npm ci of ${name} failed${error ? `: ${error.message}` : ''}; its own message is above`);
    // npm is content without an optional package, as one for another architecture has to be.
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    for (const wanted of Object.keys({ ...dependencies, ...optionalDependencies }))
      if (!existsSync(join(directory, 'node_modules', wanted, 'package.json')))
        throw new LabError(`npm ci of ${name} left out ${wanted}`);
  });
}
