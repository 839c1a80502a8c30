/** On every supported Node disks of functions serve a guest, on the program's own thread and in a module's worker. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { pattern } from '../kvm/support/disks.js';
import { whyNoKvm } from '../kvm/support/guests.js';
import { runProgram } from './support/programs.js';
import { nodes } from './support/runtimes.js';

const sectors = 1536;
if (whyNoKvm !== undefined) console.log(`skipped: disks of functions on other Nodes: ${whyNoKvm}`);

describe.skipIf(whyNoKvm !== undefined).concurrent('Node', () => {
  test.each(nodes)('$version', async ({ version, path }) => {
    const { stdout, stderr, code, outlived } = await runProgram(path, 'user-disks', [`${sectors}`, `${version}`]);
    expect({ stderr, code, outlived }).toEqual({ stderr: '', code: 0, outlived: false });
    const results = JSON.parse(stdout);
    const hash = createHash('sha256')
      .update(pattern(0, sectors, version))
      .digest('hex');
    for (const how of ['functions', 'module']) {
      const end = (text: string) => ({
        reason: 'power-off',
        debugExit: 0,
        output: expect.stringContaining(text),
        warnings: [],
      });
      expect(results[how], how).toEqual({
        written: end(`blk write: ${sectors} sectors from 0 written and read back`),
        verified: end(`blk verify: ${sectors} sectors from 0`),
        cleared: end(`blk clear: ${sectors} sectors from 0 are zero`),
        hash,
        isZero: true,
      });
    }
    expect(results.failing).toMatchObject({
      reason: 'power-off',
      output: expect.stringContaining('FAIL: request of type 0 at sector 0: status 1'),
      warnings: [expect.stringContaining('the far end has gone')],
    });
  });
});
