/**
 * Takes a name and gives it up again, so often that others who do the same must collide: bundled by a test and run as several
 * processes. Ends with an error when somebody else has the name meanwhile, or its files.
 */
import { closeSync, existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NameClaim } from '../../../../src/cli/control/name-claim.js';
import { placeOf } from '../../../../src/cli/control/runtime-directory.js';

const [, , folder = '', rounds = ''] = process.argv;
const place = placeOf(folder, 'web');
const held = join(folder, 'held');

let taken = 0;
const failures: string[] = [];
while (taken < Number(rounds)) {
  const claim = NameClaim.take(place);
  if (claim === undefined) continue;
  taken++;
  try {
    closeSync(openSync(held, 'wx')); // fails while another one has the name
    claim.removeStale();
    writeFileSync(place.socket, String(process.pid), { flag: 'wx' });
    if (!existsSync(place.lock)) throw new Error('somebody removed the lock');
    rmSync(held);
  } catch (error) {
    failures.push(String(error));
    break;
  }
  claim.release();
}
process.stdout.write(failures.join('\n'));
