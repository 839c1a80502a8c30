import { describe, expect, test } from 'vitest';
import { TsvmmError } from '../../../src/index.js';
import { bootTemplate, templateOptions, type VmTestOptions } from '../../../src/testing/template.js';

describe('the options of vmTest', () => {
  test('are those of a machine, when it is ready and how long that may take', () => {
    const ready = /login: $/;
    expect(templateOptions({ memory: '1G', ready, timeout: '2m' })).toEqual({
      machine: { memory: '1G' },
      ready,
      timeoutMs: 120_000,
    });
    expect(templateOptions({})).toEqual({ machine: {}, ready: undefined, timeoutMs: 60_000 });
  });

  test.each<[unknown, RegExp]>([
    [undefined, /vmTest: expected options/],
    [[], /vmTest: expected options/],
    [{ ready: 5 }, /vmTest: ready: 5 is not possible/],
    [{ timeout: 'long' }, /vmTest: timeout: "long" is not a duration/],
  ])('are refused where vmTest is called: %j', (options, says) => {
    expect(() => templateOptions(options as VmTestOptions)).toThrow(says);
    expect(() => templateOptions(options as VmTestOptions)).toThrow(TsvmmError);
  });

  test('a machine that cannot be started is told of with its remedy', async () => {
    const boot = bootTemplate(templateOptions({ memroy: '1G' } as VmTestOptions));
    await expect(boot).rejects.toMatchObject({
      code: 'ERR_TSVMM_CONFIG',
      message: 'vmTest: the machine did not become ready: options: there is no option "memroy"',
      hint: expect.stringContaining('memory'),
    });
    const gone = new Error('gone');
    const aborted = bootTemplate(templateOptions({ boot: { kernel: 'k' }, signal: AbortSignal.abort(gone) }));
    await expect(aborted).rejects.toMatchObject({ message: expect.stringContaining('Error: gone'), cause: gone });
  });
});
