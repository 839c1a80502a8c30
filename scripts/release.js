/**
 * Makes a release, and publishes nothing: the package, what it is made of (an SBOM, CycloneDX) and the checksums of both, in
 * .cache/release/VERSION; then it prints the commands that publish it.
 *
 *   node scripts/release.js [--out FOLDER] [--rehearse]
 *
 * It refuses a tree with changes, a version that CHANGELOG.md or package-lock.json do not have, and one that is tagged
 * already. `--rehearse` is for the tests: it takes the tree as it is, and builds nothing but addons.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runScript } from './bootstrap.js';
import { projectRoot } from './inputs.js';

/** @param {string} command @param {readonly string[]} args @returns {string} */
function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: projectRoot,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? (stderr.trim() || stdout.trim())}`);
  return stdout;
}

const readJson = (/** @type {string} */ name) => JSON.parse(readFileSync(join(projectRoot, name), 'utf8'));

/** Why this version cannot be released from this tree, as far as the files say. @param {string} version @returns {string[]} */
function contradictions(version) {
  const lock = readJson('package-lock.json');
  return lock.version === version ? [] : [`package-lock.json has version ${lock.version}, package.json ${version}`];
}

/** @param {string} version @returns {string[]} */
function unready(version) {
  const changes = run('git', ['status', '--porcelain']).trim();
  const changelog = readFileSync(join(projectRoot, 'CHANGELOG.md'), 'utf8');
  const sections = [...changelog.matchAll(/^## \[([^\]]+)\]/gm)].map(([, section]) => section);
  const tagged = run('git', ['tag', '--list', `v${version}`]).trim() !== '';
  return [
    ...(changes === '' ? [] : [`the tree has changes:\n${changes}`]),
    ...(sections.includes(version) ? [] : ['CHANGELOG.md has no section for it']),
    ...(tagged ? [`v${version} is tagged already`] : []),
  ];
}

/** The packages that an installation brings, by npm's own account. @param {string} file @param {string} name */
function writeSbom(file, name) {
  const options = ['--sbom-format=cyclonedx', '--sbom-type=library', '--omit=dev', '--package-lock-only'];
  const sbom = JSON.parse(run('npm', ['sbom', ...options]));
  sbom.metadata.component.name = name; // npm takes that of the folder
  writeFileSync(file, `${JSON.stringify(sbom, null, 2)}\n`);
}

await runScript(async () => {
  const { values } = parseArgs({ options: { out: { type: 'string' }, rehearse: { type: 'boolean', default: false } } });
  const manifest = readJson('package.json');
  const { name, version } = manifest;
  const reasons = [...contradictions(version), ...(values.rehearse ? [] : unready(version))];
  if (reasons.length > 0) throw new Error(`${version} cannot be released:\n  ${reasons.join('\n  ')}`);

  const folder = resolve(values.out ?? join(projectRoot, '.cache/release', version));
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  run(process.execPath, ['scripts/prepack.js', ...(values.rehearse ? ['--built'] : [])]);
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]));
  const sbom = `${basename(filename, '.tgz')}.cdx.json`;
  writeSbom(join(folder, sbom), name);
  const sums = [filename, sbom].map((made) => {
    const hash = createHash('sha256')
      .update(readFileSync(join(folder, made)))
      .digest('hex');
    return `${hash}  ${made}\n`;
  });
  writeFileSync(join(folder, 'SHA256SUMS'), sums.join(''));

  const shown = relative(projectRoot, folder).startsWith('..') ? folder : relative(projectRoot, folder);
  console.log(`${shown}: ${readdirSync(folder).sort().join(', ')}`);
  // npm compares the repository with where the package was built, and refuses one that names none.
  const missing = ['repository', 'bugs', 'homepage'].filter((field) => manifest[field] === undefined);
  const vouched = !missing.includes('repository');
  if (missing.length > 0) console.log(`package.json has no ${missing.join(', ')}`);
  console.log(`to publish it${vouched ? ', from CI so that npm can vouch for where it was built' : '; npm cannot vouch for where it was built (--provenance) without a repository'}:
  git tag -s v${version} && git push origin v${version}
  npm publish ${join(shown, filename)} --access public${vouched ? ' --provenance' : ''}`);
  return 0;
});
