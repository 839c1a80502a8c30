/**
 * What only tests run and npm carries: other Nodes and other runtimes. They go into the cache, not
 * into the project's own node_modules; exact versions and sha512 hashes are in test/node/packages/NAME/package-lock.json.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { artefactPath, ensureArtefact, keyOf, projectRoot } from './lab/cache.js';
import { LabError } from './lab/tools.js';

/** @typedef {'runtimes'} NpmTools */

const files = ['package.json', 'package-lock.json'];
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
      ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      { cwd: directory, stdio: ['ignore', 2, 2], timeout: 10 * 60_000 },
    );
    if (status !== 0)
      throw new LabError(`npm ci of ${name} failed${error ? `: ${error.message}` : ''}; its own message is above`);
  });
}
