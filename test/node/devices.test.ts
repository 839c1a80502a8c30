/** On every supported Node devices do their work: the I/O worker with its ring, the queues of disk and console, the serial port. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { IoUringEngine } from '../../src/host/io-uring.js';
import { pattern, scratchFolder, sectorBytes } from '../kvm/support/disks.js';
import { whyNoKvm } from '../kvm/support/guests.js';
import { runProgram } from './support/programs.js';
import { nodes } from './support/runtimes.js';

const scratch = scratchFolder();
const sectors = 512;

/** Whether this host has io_uring: where it has not, disks go through epoll. */
function hasRings(): boolean {
  const engine = IoUringEngine.open();
  if (typeof engine === 'number') return false;
  engine.close();
  return true;
}

describe.skipIf(whyNoKvm !== undefined).concurrent('Node', () => {
  test.each(nodes)('$version', async ({ version, path }) => {
    const disk = scratch.file(`written-by-${version}.img`, sectors * sectorBytes);
    const { stdout, stderr, code, outlived } = await runProgram(path, 'devices', [disk, `${sectors}`, `${version}`]);
    expect({ stderr, code, outlived }).toEqual({ stderr: '', code: 0, outlived: false });
    const results = JSON.parse(stdout);
    for (const [device, result] of Object.entries<object>(results))
      expect(result, device).toMatchObject({ reason: 'power-off', debugExit: 0 });
    const rings = hasRings() ? 1 : 0;
    expect(results.disk).toMatchObject({
      rings,
      output: expect.stringContaining(`blk write: ${sectors} sectors from 0`),
    });
    expect(readFileSync(disk).equals(pattern(0, sectors, version))).toBe(true);
    const last = /echo: some text\r?\n(burst line \d+\r?\n){50}/;
    expect(results.serial.output).toMatch(last);
    expect(results.virtio).toMatchObject({ rings, output: expect.stringMatching(last) });
  });
});
