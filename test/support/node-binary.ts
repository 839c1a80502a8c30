/** Official Node binaries of other architectures and versions, from the npm packages that carry them. Cached. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = resolve(process.env['TSVMM_CACHE'] ?? fileURLToPath(new URL('../../.cache', import.meta.url)), 'node');

/** The path of that Node, such as `nodeBinary('linux-arm64', '20')`; fetched once. */
export function nodeBinary(platform: 'linux-x64' | 'linux-arm64', version: string): string {
  const folder = join(cache, `${platform}-${version}`);
  const binary = join(folder, 'package/bin/node');
  if (existsSync(binary)) return binary;
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(`${folder}-`);
  try {
    execFileSync('npm', ['pack', '--silent', `node-${platform}@${version}`, '--pack-destination', fresh], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    execFileSync('sh', ['-c', 'tar -xzf ./*.tgz && rm ./*.tgz'], { cwd: fresh });
    if (!existsSync(folder)) renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return binary;
}
