/** Before the first test under other runtimes: they are installed, which takes a minute once and no test's time. */
import { ensureNpmTools } from '../../../scripts/npm-tools.js';

export default async function setup(): Promise<void> {
  await ensureNpmTools('runtimes');
}
