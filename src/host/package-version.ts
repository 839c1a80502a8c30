/** The version of this package, from its package.json. Any thread. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './addon.js';

export const packageVersion = (): string =>
  (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version;
