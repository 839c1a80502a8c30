import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  parseChoice,
  parseCount,
  parseCpu,
  parseCpus,
  parseDisk,
  parseDuration,
  parseEntry,
  parseSize,
} from '../../../src/cli/values.js';
import { TsvmmError } from '../../../src/errors.js';

/** The error that `work` throws, which must be a TsvmmError with a hint. */
function refusal(work: () => unknown): TsvmmError {
  try {
    work();
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.hint).toBeTruthy();
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('sizes', () => {
  it.each([
    ['512M', 512 * 2 ** 20],
    ['2g', 2 * 2 ** 30],
    ['1.5G', 1536 * 2 ** 20],
    ['64MiB', 64 * 2 ** 20],
    ['0.5K', 512],
    ['1T', 2 ** 40],
  ])('%s', (text, bytes) => expect(parseSize(text, '--memory')).toBe(bytes));

  it('refuses a number without a unit and says what to write', () => {
    const error = refusal(() => parseSize('512', '--memory'));
    expect(error.message).toBe('--memory "512" has no unit');
    expect(error.hint).toContain('512M');
  });

  it.each(['', 'M', '-1M', '1e3M', '0x10M', '1 G B', '99999999999999999G', '999999999T', '0.0001K'])(
    'refuses %j',
    (text) => {
      expect(refusal(() => parseSize(text, '--memory')).message).toContain('--memory');
    },
  );

  it('answers a safe integer or refuses, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,20}[KMGTkmgt]?(iB)?$/)), (text) => {
        try {
          expect(Number.isSafeInteger(parseSize(text, '-m'))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(TsvmmError);
        }
      }),
    );
  });
});

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['1.5m', 90_000],
  ])('%s', (text, milliseconds) => expect(parseDuration(text, '--timeout')).toBe(milliseconds));
  it.each(['', '5', 's', '-1s', '0s', '0.0001ms', '1h', '5 minutes'])('refuses %j', (text) => {
    expect(refusal(() => parseDuration(text, '--timeout')).message).toContain('--timeout');
  });
});

describe('counts and entries', () => {
  it('takes whole numbers from 1', () => expect(parseCount('32', '--cpus')).toBe(32));
  it.each(['0', '-1', '1.5', 'two', '', '1000000'])('refuses %j', (text) => {
    expect(refusal(() => parseCount(text, '--cpus')).message).toContain('--cpus');
  });
  it('tells numbers from titles', () => {
    expect(parseEntry('3')).toBe(3);
    expect(parseEntry('Debian GNU/Linux')).toBe('Debian GNU/Linux');
    expect(parseEntry('1>2')).toBe('1>2');
  });
});

describe('CPU models', () => {
  it('knows host, features added and removed, and names', () => {
    expect(parseCpu('host')).toBe('host');
    expect(parseCpu('host,+avx2,-avx512f')).toEqual({ add: ['avx2'], remove: ['avx512f'] });
    expect(parseCpu('x86-64-v3,-sse4.2')).toEqual({ model: 'x86-64-v3', remove: ['sse4.2'] });
    expect(parseCpu('baseline')).toEqual({ model: 'baseline' });
  });
  it.each(['', '+avx2', 'host,avx2', 'host,', 'host,+', 'a b'])('refuses %j', (text) => {
    expect(refusal(() => parseCpu(text)).message).toContain('--cpu');
  });
});

describe('disks', () => {
  it('reads options after the name', () => {
    expect(parseDisk('a.img', '--disk')).toEqual({ path: 'a.img' });
    expect(parseDisk('a.img,readonly', '--disk')).toEqual({ path: 'a.img', readOnly: true });
    expect(parseDisk('a.img,format=raw,ephemeral', '--disk')).toEqual({
      path: 'a.img',
      format: 'raw',
      ephemeral: true,
    });
    expect(parseDisk('a.img,on-error=stop', '--disk')).toEqual({ path: 'a.img', onError: 'stop' });
    expect(parseDisk('a.img,ephemeral=1G', '--disk')).toEqual({ path: 'a.img', ephemeral: { limit: 2 ** 30 } });
    expect(parseDisk('a.img,bytes-per-second=50M,ops-per-second=1000', '--disk')).toEqual({
      path: 'a.img',
      limit: { bytesPerSecond: 50 * 2 ** 20, opsPerSecond: 1000 },
    });
    for (const cache of ['writeback', 'direct', 'unsafe'] as const)
      expect(parseDisk(`a.img,cache=${cache}`, '--disk')).toEqual({ path: 'a.img', cache });
  });
  it('takes a doubled comma for one of the name', () => {
    expect(parseDisk('a,,b.img,readonly', '--disk')).toEqual({ path: 'a,b.img', readOnly: true });
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (name) => {
        expect(parseDisk(name.replaceAll(',', ',,'), '--disk')).toEqual({ path: name });
      }),
    );
  });
  it.each([
    '',
    ',readonly',
    'a.img,',
    'a.img,ro',
    'a.img,format=vhd',
    'a.img,cache=',
    'a.img,cache',
    'a.img,ops-per-second=0',
    'a.img,bytes-per-second=9',
    'a.img,ephemeral=',
    'a.img,,',
  ])('refuses or keeps %j apart', (text) => {
    if (text === 'a.img,,') expect(parseDisk(text, '--disk')).toEqual({ path: 'a.img,' });
    else expect(refusal(() => parseDisk(text, '--disk')).message).toContain('--disk');
  });
});

describe('vCPUs', () => {
  it.each([
    ['4', { cpus: 4 }],
    ['8,sockets=2,cores=2,threads=2', { cpus: 8, topology: { sockets: 2, cores: 2, threads: 2 } }],
    ['8, threads=2', { cpus: 8, topology: { threads: 2 } }],
    ['sockets=2,cores=4', { topology: { sockets: 2, cores: 4 } }],
  ])('%s', (text, expected) => expect(parseCpus(text, '--cpus')).toEqual(expected));

  it.each([
    ['two', /is not a count/],
    ['0', /is not a count/],
    ['4,dies=2', /"dies=2" is not a count of sockets/],
    ['sockets=2,4', /"4" is not a count of sockets/],
    ['4,cores=2,cores=2', /says cores twice/],
    ['4,cores=', /"cores=" is not a count/],
  ])('refuses %s', (text, message) => expect(refusal(() => parseCpus(text, '--cpus')).message).toMatch(message));

  it('knows words, and the one that was meant', () => {
    const kinds = ['thp', 'hugetlb', 'off'] as const;
    expect(parseChoice('hugetlb', '--hugepages', kinds)).toBe('hugetlb');
    expect(refusal(() => parseChoice('on', '--hugepages', kinds)).hint).toBe('write thp or hugetlb or off');
    expect(refusal(() => parseChoice('hugetbl', '--hugepages', kinds)).hint).toBe(
      'did you mean hugetlb? write thp or hugetlb or off',
    );
    expect(refusal(() => parseDisk('a.img,raedonly', '--disk')).hint).toMatch(/^did you mean readonly\? options are /);
  });
});
