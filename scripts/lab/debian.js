/**
 * Debian root file systems by mmdebstrap, from the mirror that this machine itself uses.
 *
 * No mirror is written down here: the machine's apt sources for the suite are passed on, and with them the settings of
 * its apt that decide how to download (proxies, date checks). On a machine that is not of this suite mmdebstrap's own
 * default mirror is used. As root mmdebstrap needs nothing special; as another user it works in a user namespace.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from './process.js';
import { isRoot, requireTools } from './tools.js';

export const suite = 'bookworm';
const suites = [suite, `${suite}-updates`, `${suite}-security`];

/** Settings of the machine's apt that a download needs; nothing else of it reaches an image. */
const aptSettings = /^Acquire::(?:(?:http|https|ftp)::|Check-Date|Check-Valid-Until|Retries|ForceIPv)/;

/** A mirror of Debian itself, not a third party's archive that has a suite of the same name. */
const isDebianArchive = (/** @type {string} */ uri) =>
  /^(?:https?|ftp|mirror\+\w+):.*\/debian(?:-security)?\/?$/.test(uri);

/**
 * `deb URI SUITE main` lines out of one sources file.
 *
 * @param {string} name
 * @param {string} text
 * @returns {string[]}
 */
export function sourceLines(name, text) {
  /** @type {{ types: string, uris: string, suites: string, components: string, signedBy: string }[]} */
  const entries = [];
  if (name.endsWith('.sources')) {
    for (const paragraph of text.replace(/^#.*\n?/gm, '').split(/\n\s*\n/)) {
      const field = (/** @type {string} */ key) =>
        new RegExp(`^${key}:[ \\t]*(.*(?:\\n[ \\t]+.*)*)`, 'im').exec(paragraph)?.[1] ?? '';
      if (/^(?:no|false|off|0)$/i.test(field('Enabled').trim())) continue;
      entries.push({
        types: field('Types'),
        uris: field('URIs'),
        suites: field('Suites'),
        components: field('Components'),
        signedBy: field('Signed-By'),
      });
    }
  } else {
    for (const line of text.split('\n')) {
      const match = /^\s*(deb(?:-src)?)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
      if (match === null) continue;
      const [, types = '', options = '', uris = '', inSuite = '', components = ''] = match;
      entries.push({ types, uris, suites: inSuite, components, signedBy: /signed-by=(\S+)/i.exec(options)?.[1] ?? '' });
    }
  }
  const words = (/** @type {string} */ value) => value.split(/\s+/).filter(Boolean);
  return entries
    .filter((entry) => words(entry.types).includes('deb') && words(entry.components).includes('main'))
    .filter((entry) => entry.signedBy === '' || entry.signedBy.includes('debian-archive'))
    .flatMap((entry) =>
      words(entry.uris)
        .filter(isDebianArchive)
        .flatMap((uri) =>
          words(entry.suites)
            .filter((name) => suites.includes(name))
            .map((name) => `deb ${uri} ${name} main`),
        ),
    );
}

/** The machine's own sources of the suite, or undefined when it has none. */
export function machineSources() {
  const files = ['/etc/apt/sources.list'];
  const directory = '/etc/apt/sources.list.d';
  if (existsSync(directory))
    for (const name of readdirSync(directory).sort())
      if (/\.(?:list|sources)$/.test(name)) files.push(join(directory, name));
  const lines = files
    .filter((file) => existsSync(file))
    .flatMap((file) => sourceLines(file, readFileSync(file, 'utf8')));
  return lines.some((line) => line.split(' ')[2] === suite) ? [...new Set(lines)].join('\n') + '\n' : undefined;
}

/**
 * @typedef {object} Recipe
 * @property {string} variant of mmdebstrap: which packages are there before `packages`
 * @property {string[]} packages
 * @property {string[]} [earlyHooks] shell, with the root in `$1`, before `packages` are installed
 * @property {string[]} [lateHooks] shell, with the root in `$1`, after everything is installed
 */

/**
 * Makes a root file system as a tar archive.
 *
 * @param {Recipe} recipe
 * @param {string} tarFile
 */
export async function makeRootTar(recipe, tarFile) {
  requireTools(
    ['mmdebstrap', ...(isRoot() ? [] : /** @type {const} */ (['unshare', 'newuidmap']))],
    'make Debian root file systems',
  );
  const settings = existsSync('/etc/apt')
    ? (await runTool('apt-config', ['dump'])).split('\n').filter((line) => aptSettings.test(line))
    : [];
  const sources = machineSources();
  await runTool(
    'mmdebstrap',
    [
      `--variant=${recipe.variant}`,
      `--include=${recipe.packages.join(',')}`,
      ...settings.map((line) => `--aptopt=${line}`),
      '--dpkgopt=force-unsafe-io', // the build is thrown away if it is interrupted
      ...['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*'].map(
        (path) => `--dpkgopt=path-exclude=${path}`,
      ),
      ...(recipe.earlyHooks ?? []).map((hook) => `--essential-hook=${hook}`),
      ...(recipe.lateHooks ?? []).map((hook) => `--customize-hook=${hook}`),
      // How this machine downloads and that the build was hasty is no business of the system that results.
      '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap',
      suite,
      tarFile,
      ...(sources === undefined ? [] : ['-']),
    ],
    sources === undefined ? {} : { input: sources },
  );
}

/**
 * Runs a shell command as root, or as the root of a user namespace, which is enough to keep owners of files apart.
 *
 * @param {string} script
 * @param {string[]} args its `$1` and so on
 */
export async function asRoot(script, args) {
  const command = ['sh', '-euc', script, 'sh', ...args];
  if (isRoot()) await runTool('sh', command.slice(1));
  else await runTool('unshare', ['--map-root-user', '--map-auto', '--', ...command]);
}

/**
 * Turns a root tar into a file system image, without mounting anything.
 *
 * @param {string} tarFile
 * @param {string} image
 * @param {{ size: number, label: string }} options
 */
export async function makeRootImage(tarFile, image, options) {
  requireTools(['mke2fs', 'tar'], 'make file system images');
  const tree = `${image}.tree`;
  mkdirSync(tree);
  writeFileSync(image, '');
  truncateSync(image, options.size);
  // Device nodes are left out (a user namespace may not make them): the kernel's devtmpfs has them. The tree goes on
  // every way out, and here rather than by Node, since in a user namespace its files belong to others.
  const script = `trap 'rm -rf "$1"' EXIT
    tar -C "$1" -xf "$2" --numeric-owner --exclude='./dev/*'
    mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=1 -L "$4" -d "$1" "$3"`;
  await asRoot(script, [tree, tarFile, image, options.label]);
}
