/** `test` and `[`. */
import { describe, expect, test } from 'vitest';
import { Budget } from '../../../../src/boot/grub/budget.js';
import { evaluateTest } from '../../../../src/boot/grub/condition.js';

const evaluate = (...args: string[]): Promise<boolean> =>
  evaluateTest(args, async (path) => (path === '/there' ? { kind: 'file', size: 1 } : undefined), new Budget());

describe('true', () => {
  test.each([
    [['a', '=', 'a', ']']],
    [['a', '==', 'a']],
    [['a', '!=', 'b']],
    [['abc', '<', 'abd']],
    [['b', '>=', 'b']],
    [['010', '-eq', '8']],
    [['0x10', '-gt', '15']],
    [['-3', '-lt', '2']],
    [['7', '-le', '7']],
    [['7', '-ge', '7']],
    [['1', '-ne', '2']],
    [['vmlinuz-2', '-plt', 'vmlinuz-11']],
    [['vmlinuz-12', '-pgt', 'vmlinuz-9']],
    [['word']],
    [['-n', 'x']],
    [['-z', '']],
    [['!', 'a', '=', 'b']],
    [['a', '=', 'b', '-o', 'c', '=', 'c']],
    [['a', '=', 'a', '-a', '-n', 'x']],
    [['(', 'a', '=', 'b', '-o', 'x', ')', '-a', 'y']],
    [['!', '(', 'a', '=', 'b', ')']],
    [['-e', '/there', '-a', '!', '-d', '/there']],
    [['-n']],
    [[]],
  ])('%j', async (args) => expect(await evaluate(...args)).toBe(true));
});

describe('false', () => {
  test.each([
    [['a', '=', 'b']],
    [['']],
    [['1', '-eq', '2']],
    [['abc', '-eq', '1']],
    [['-f', '/none']],
    [['-z', 'x']],
    [['a', '=', 'a', '-a', 'a', '=', 'b']],
    [['a', '=', 'b', '-o', 'a', '=', 'c']],
    [['x', '-a', '!', 'y']],
    [['!', 'a', '=', 'a']],
  ])('%j', async (args) => expect(await evaluate(...args)).toBe(false));
});

test('parentheses cannot be nested without end', async () => {
  await expect(evaluate(...Array.from({ length: 4000 }, () => '('), 'x')).rejects.toMatchObject({
    code: 'ERR_TSVMM_BOOT_NOT_FOUND',
    message: 'the GRUB configuration nests deeper than 100 parentheses',
  });
});
