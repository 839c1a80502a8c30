/** Disks that take long to look at: whoever waits for the machine is not kept, and the program around it goes on. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { crowdedFat } from '../support/crowded-fat.js';
import { scratchFolder } from './support/disks.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const slow = crowdedFat();
/** A guest that runs for less rests for the remainder, before it is started again. */
const restMs = 1000;

/** A file system that boots the guest `reset`, as large as the slow one. */
function bootable(): string {
  const root = scratch.path('root');
  const image = scratch.file('boot.img', 0);
  mkdirSync(join(root, 'loader/entries'), { recursive: true });
  writeFileSync(join(root, 'loader/entries/a.conf'), 'title reset\nlinux /k\n');
  copyFileSync(guestFile('reset'), join(root, 'k'));
  truncateSync(image, slow.length);
  const PATH = `${process.env['PATH']}:/usr/sbin:/sbin`;
  execFileSync('mke2fs', ['-q', '-F', '-d', root, image], { env: { ...process.env, PATH } });
  return image;
}

describe.skipIf(whyNoKvm !== undefined)('a disk that takes long to look at', () => {
  test('ends with a start that is aborted', async () => {
    const path = scratch.file('slow.img', slow);
    const signal = AbortSignal.timeout(700);
    const begun = performance.now();
    await expect(VirtualMachine.start({ disks: [path], memory: '64M', signal })).rejects.toThrow(
      'aborted due to timeout',
    );
    expect(performance.now() - begun).toBeLessThan(4000);
  });

  test('written by a guest that reboots, does not keep from killing it', async () => {
    const path = bootable();
    await using vm = await VirtualMachine.start({ disks: [path], memory: '64M' });
    const reboots = new Promise<void>((resolve) =>
      vm.once('reboot', () => {
        writeFileSync(path, slow);
        resolve();
      }),
    );
    await reboots;
    await delay(restMs + 700);
    const begun = performance.now();
    expect(await vm.kill()).toMatchObject({ reason: 'killed' });
    expect(performance.now() - begun).toBeLessThan(4000);
    expect(vm.phases.map(({ name }) => name)).not.toContain('read kernel');
  });
});
