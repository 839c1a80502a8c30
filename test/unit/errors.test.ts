import { expect, test } from 'vitest';
import { asTsvmmError, raiseOpenFiles, TsvmmError } from '../../src/errors.js';

test('whatever met the limit of open files says how to raise it', () => {
  const cause = Object.assign(new Error('EMFILE: too many open files, open x'), { code: 'EMFILE' });
  expect(asTsvmmError(cause, 'ERR_TSVMM_STATE')).toMatchObject({
    code: 'ERR_TSVMM_STATE',
    hint: expect.stringMatching(/ulimit -n/),
  });
  expect(new TsvmmError('ERR_TSVMM_BOOT_KERNEL', 'x', { cause, hint: 'check the path' }).hint).toMatch(/ulimit -n/);
  for (const other of [undefined, null, 5, new Error('x')]) {
    expect(new TsvmmError('ERR_TSVMM_STATE', 'x', { cause: other }).hint).toBeUndefined();
    expect(new TsvmmError('ERR_TSVMM_STATE', 'x', { cause: other, hint: 'y' }).hint).toBe('y');
  }
});

test('a worker that got no event loop for want of descriptors says how to raise their limit', () => {
  const cause = Object.assign(new Error('Worker initialization failure: EMFILE'), { code: 'ERR_WORKER_INIT_FAILED' });
  expect(asTsvmmError(cause, 'ERR_TSVMM_WORKER_DIED').hint).toBe(raiseOpenFiles);
  cause.message = 'Worker initialization failure: ENOMEM';
  expect(asTsvmmError(cause, 'ERR_TSVMM_WORKER_DIED').hint).toBeUndefined();
});

test('what an error of a thread that it has ended says of a remedy is kept', async () => {
  const { Worker } = await import('node:worker_threads');
  const thrower = `throw Object.assign(new Error('no'), { name: 'TsvmmError', code: 'ERR_TSVMM_CONFIG', hint: 'do that' });`;
  const cause = await new Promise<unknown>((resolve) => new Worker(thrower, { eval: true }).once('error', resolve));
  expect(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'it died', { cause }).hint).toBe('do that');
  expect(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'it died', { cause, hint: 'do this' }).hint).toBe('do this');
});
