/**
 * Power cuts: a guest writes to a disk on the lab's scratch drive and says what the disk has promised it to keep; the lab is
 * killed at a random moment, page cache and all, and a fresh lab looks at what is there (contract §9.1).
 *
 * The moments are drawn from a seed that is printed; TSVMM_TEST_SEED asks for one.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { guestPath } from '../guests/guests.js';
import { diskBytes, drawFrom, examine, lastRecord, testSeed } from '../support/records.js';
import { bootTimeout, patient } from './support/disks.js';
import { full, guestScript, type Lab, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-power-cut-'));
afterAll(() => rmSync(folder, { recursive: true }));

/**
 * How a driver gets the promise: it flushes, it has turned the write cache off, or it knows of no cache; and how the host
 * keeps it. Of the host's third way, `unsafe`, nothing is promised (docs/disks.md).
 */
const ways = [
  { driver: 'flush', cache: 'writeback' },
  { driver: 'flush', cache: 'direct' },
  { driver: 'through', cache: 'writeback' },
  { driver: 'declined', cache: 'direct' },
  { driver: 'declined', cache: 'writeback' },
  { driver: 'through', cache: 'direct' },
] as const;
/** The first four have every way of either side once. */
const cycles = full ? 20 : 4;
/** Few enough to be written over in every run: in place is another path through the lab's ext4 than new. */
const slots = 256;
const longest = 6000;
const draw = drawFrom(testSeed);

const mount = 'mount /run/drives/scratch /mnt';

async function run(lab: Lab, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await lab.exec(['sh', '-ec', script]);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  return stdout;
}

interface Cut {
  /** All that the guest had said when the power went. */
  readonly output: string;
  readonly afterMs: number;
}

/** Starts a machine and cuts the lab's power some time after the machine has said `begun`. */
async function cutPower(lab: Lab, command: string[], begun: string, longestMs: number): Promise<Cut> {
  const afterMs = draw(longestMs);
  let output = '';
  let errors = '';
  let resolve = (): void => {};
  const started = new Promise<void>((done) => {
    resolve = done;
  });
  const machine = lab.start(['node', 'bin/tsvmm.js', 'run', ...command], {
    onStdout: (data) => {
      output += data;
      if (output.includes(begun)) resolve();
    },
    onStderr: (data) => {
      errors += data;
    },
  });
  const ended = machine.exited.then((code) => Promise.reject(new Error(`ended with ${code}: ${output}${errors}`)));
  const late = delay(bootTimeout * 1000, undefined, { ref: false }).then(() => {
    throw new Error(`"${begun}" did not come: ${output}${errors}`);
  });
  await Promise.race([started, ended, late]);
  await Promise.race([delay(afterMs), ended]);
  await lab.kill();
  return { output, afterMs };
}

describe('a power cut', () => {
  const scratch = join(folder, 'records.raw');
  const open = () => openLab({ disks: false, scratch, copy: [{ from: guestPath('records'), to: '/root/' }] });
  const write = (lab: Lab, disk: string, words: string): Promise<Cut> => {
    const machine = ['-m', '64M', '--kernel', '/root/records.elf', '--cmdline', `slots=${slots} ${words}`];
    return cutPower(lab, ['--disk', `/mnt/${disk}`, ...machine], 'records: from', longest);
  };
  /** The lab's ext4 has replayed its journal by now. */
  const look = async (lab: Lab, image: string): Promise<Buffer> => {
    const copy = join(folder, image);
    await lab.get([{ from: `/mnt/${image}`, to: copy }]);
    return readFileSync(copy);
  };

  test(`takes no record that a tiny guest was promised (${cycles} cuts)`, async () => {
    console.log(`power cuts: TSVMM_TEST_SEED=${testSeed}`);
    let acknowledged = 0;
    let highest = 0;
    for (let cycle = 0; cycle <= cycles; cycle++) {
      await using lab = await open();
      if (cycle === 0) {
        const size = diskBytes(slots);
        await run(lab, `mkfs.ext4 -q /run/drives/scratch; ${mount}; truncate -s ${size} /mnt/records.img; sync`);
      } else {
        await run(lab, mount);
        const found = examine(await look(lab, 'records.img'), acknowledged);
        expect(found).toEqual({ highest: expect.any(Number), missing: [] });
        highest = found.highest;
      }
      if (cycle === cycles) break;
      const { driver, cache } = ways[cycle % ways.length]!;
      const disk = `records.img,cache=${cache}`;
      const { output, afterMs } = await write(lab, disk, `cache=${driver} from=${highest + 1}`);
      acknowledged = Math.max(highest, lastRecord(output));
      console.log(
        `power cut ${cycle + 1}, ${driver} on ${cache}: after ${afterMs} ms, record ${highest + 1} to ${acknowledged}`,
      );
    }
    expect(acknowledged).toBeGreaterThan(cycles);
  });

  test('takes what was promised to nobody, so that the test above tells', async () => {
    let acknowledged: number;
    {
      await using lab = await open();
      await run(lab, `${mount}; truncate -s ${diskBytes(slots)} /mnt/unsafe.img; sync`);
      acknowledged = lastRecord((await write(lab, 'unsafe.img', 'cache=unsafe')).output);
    }
    await using lab = await open();
    await run(lab, mount);
    expect(examine(await look(lab, 'unsafe.img'), acknowledged).missing).not.toEqual([]);
  });
});

const debianCuts = 3;
if (!full) console.log(`skipped: ${debianCuts} power cuts with Debian take minutes each: npm run test:full`);
describe.skipIf(!full)('a power cut under Debian', () => {
  const scratch = join(folder, 'debian.raw');
  const lines = 200;
  const content = (number: number) => `line of file ${number}\n`.repeat(1 + (number % lines));
  /** The shell makes the content by itself: in a guest of the lab each process costs a quarter of a second. */
  const writer = (from: number) => `
mount -o remount,rw / && mkdir -p /root/kept && cd /root/kept && n=${from} && echo KEEPING
while :; do
  i=0; while [ $i -le $((n % ${lines})) ]; do echo "line of file $n"; i=$((i + 1)); done > $n
  sync $n && echo "record $n"; n=$((n + 1))
done`;

  test(`leaves its ext4 whole, and every file that was synced (${debianCuts} cuts)`, async () => {
    let kept = 0;
    for (let cycle = 0; cycle <= debianCuts; cycle++) {
      await using lab = await openLab({ scratch });
      if (cycle === 0) {
        await run(
          lab,
          `mkfs.ext4 -q /run/drives/scratch; ${mount}; cp --sparse=always /images/debian-bare.img /mnt/; sync`,
        );
      } else {
        await run(lab, mount);
        // The guest's journal is replayed first, as its kernel would; what is left must then be a clean file system.
        await run(lab, 'e2fsck -E journal_only -y /mnt/debian-bare.img || test $? = 1');
        await run(lab, 'e2fsck -fn /mnt/debian-bare.img');
        const files = await run(
          lab,
          'debugfs -R "rdump /root/kept /root" /mnt/debian-bare.img; cd /root/kept; head -v -n -0 *',
        );
        for (let number = 1; number <= kept; number++) expect(files).toContain(`==> ${number} <==\n${content(number)}`);
      }
      if (cycle === debianCuts) break;
      const words = `${patient} init=/usr/local/sbin/tsvmm-marker ${guestScript(writer(kept + 1))}`;
      const { output, afterMs } = await cutPower(
        lab,
        ['/mnt/debian-bare.img', '--append', words],
        'KEEPING',
        4 * longest,
      );
      kept = Math.max(kept, lastRecord(output));
      console.log(`power cut ${cycle + 1} under Debian: after ${afterMs} ms, ${kept} files`);
    }
    expect(kept).toBeGreaterThan(0);
  });
});
