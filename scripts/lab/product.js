/**
 * Gathers what goes into the lab with a run: this checkout's built product with its run-time packages, Node, the agent.
 */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { projectRoot } from './cache.js';
import { runTool } from './process.js';
import { LabError } from './tools.js';

/** What of the checkout is in the lab at /project, as far as it exists. */
const productPaths = [
  'bin',
  'dist',
  'prebuilds',
  'package.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'docs',
  'bench',
  'scripts',
  'test',
];

/** `cp -a` by hard links where the file system allows it. @param {string} from @param {string} to */
async function link(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  await runTool('cp', ['-aT', '--link', from, to]).catch(() =>
    runTool('cp', ['-aT', '--remove-destination', '--sparse=always', from, to]),
  );
}

/** @param {string} folder */
function dependencies(folder) {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return Object.keys({ ...dependencies, ...optionalDependencies });
}

/**
 * The folders of the run-time packages: those that package.json depends on, and those that they depend on.
 *
 * @param {string} root
 * @param {readonly string[]} [others] packages that are wanted as well
 * @returns {string[]} relative to it
 */
export function runtimePackages(root, others = []) {
  /** @type {Set<string>} */
  const found = new Set();
  /** @param {string} folder @param {string[]} names */
  const visit = (folder, names) => {
    for (const name of names) {
      // Node's own search: the package's node_modules, then those above it, up to the root's.
      let place = folder;
      while (!existsSync(join(place, 'node_modules', name)) && place !== root) place = dirname(place);
      const path = join(place, 'node_modules', name);
      if (!existsSync(path) || found.has(path)) continue; // optional ones may be absent
      found.add(path);
      visit(path, dependencies(path));
    }
  };
  visit(root, [...dependencies(root), ...others]);
  // A package inside another one's folder comes with it.
  const all = [...found].sort();
  return all
    .filter((path) => !all.some((other) => path.startsWith(`${other}/`)))
    .map((path) => path.slice(root.length + 1));
}

/** @param {string} folder gets `project/` @param {readonly string[]} packages that are in it too */
export async function stageProduct(folder, packages) {
  const target = join(folder, 'project');
  mkdirSync(target);
  const paths = [...productPaths, ...runtimePackages(projectRoot, packages)];
  const release = join(projectRoot, 'build/Release');
  if (existsSync(release))
    paths.push(
      ...readdirSync(release)
        .filter((name) => name.endsWith('.node'))
        .map((name) => join('build/Release', name)),
    );
  for (const path of paths)
    if (existsSync(join(projectRoot, path))) await link(join(projectRoot, path), join(target, path));
}

/**
 * @param {string} folder gets `copy/N/` for each
 * @param {{ from: string, to: string }[]} copies
 */
export async function stageCopies(folder, copies) {
  for (const [index, { from, to }] of copies.entries()) {
    const source = resolve(from);
    if (!existsSync(source)) throw new LabError(`--copy: ${from} does not exist`, { exitCode: 2 });
    const place = join(folder, 'copy', String(index));
    await link(source, join(place, 'item', basename(source)));
    writeFileSync(join(place, 'to'), to);
    writeFileSync(join(place, 'name'), basename(source));
  }
}

/** The Node that runs this, as it is told from another one. */
export const nodeIdentity = () => [process.version, process.arch, statSync(process.execPath).size];

/** @param {string} folder gets `agent/` and `node/` */
export async function stageAgent(folder) {
  cpSync(join(import.meta.dirname, 'agent'), join(folder, 'agent'), { recursive: true });
  const libraries = join(folder, 'node/lib');
  mkdirSync(libraries, { recursive: true });
  cpSync(realpathSync(process.execPath), join(folder, 'node/node'));
  for (const [, name, path] of (await runTool('ldd', [process.execPath])).matchAll(/^\s*(\S+) => (\/\S+)/gm)) {
    if (name !== undefined && path !== undefined) cpSync(realpathSync(path), join(libraries, name));
  }
}
