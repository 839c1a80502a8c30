import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TsvmmError } from '../../../src/errors.js';
import { type DiskOptions, diskConfig } from '../../../src/machine/disk-options.js';
import { normalize, type VmConfig, type VmOptions } from '../../../src/machine/options.js';
import { formatSize, parseDuration, parseSize } from '../../../src/machine/units.js';

const refused = (options: unknown): TsvmmError => {
  try {
    normalize(options as VmOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    expect((error as TsvmmError).code).toBe('ERR_TSVMM_CONFIG');
    expect((error as TsvmmError).hint).toBeTruthy();
    return error as TsvmmError;
  }
  throw new Error('accepted');
};

test('the defaults', () => {
  const config = normalize({ disks: ['a.img', { path: 'b.img', readOnly: true }] });
  expect(config).toMatchObject({
    memory: { size: 512 * 1024 ** 2, hugepages: 'thp', prefault: false },
    topology: { sockets: 1, cores: 1, threads: 1 },
    onReboot: 'reboot',
    boot: { kind: 'disk', disk: 0 },
  });
  expect(config.disks.map(({ drive }) => drive)).toEqual(
    new Array(2).fill({
      onError: 'report',
      serial: undefined,
      limit: undefined,
      removable: false,
      buckets: expect.any(SharedArrayBuffer),
    }),
  );
  expect(diskConfig('disk', { path: 'a.img' }).medium).toMatchObject({
    readOnly: false,
    ephemeral: false,
    cache: 'writeback',
  });
  expect(normalize({ disks: ['a.img'] }).name).not.toBe(config.name);
});

describe('vCPUs and their topology', () => {
  const shape = (cpus: number | undefined, topology: VmOptions['topology']) => {
    const { sockets, cores, threads } = normalize({
      disks: ['a'],
      ...(cpus && { cpus }),
      ...(topology && { topology }),
    }).topology;
    return [sockets, cores, threads];
  };
  test('cpus alone are the cores of one socket', () => expect(shape(8, undefined)).toEqual([1, 8, 1]));
  test('what is left out follows: cores, then sockets, then threads', () => {
    expect(shape(8, { threads: 2 })).toEqual([1, 4, 2]);
    expect(shape(8, { sockets: 2 })).toEqual([2, 4, 1]);
    expect(shape(8, { cores: 2 })).toEqual([4, 2, 1]);
    expect(shape(8, { sockets: 2, cores: 2 })).toEqual([2, 2, 2]);
    expect(shape(undefined, { sockets: 2, cores: 3 })).toEqual([2, 3, 1]);
  });
  test('254 vCPUs at most', () => {
    expect(shape(254, undefined)).toEqual([1, 254, 1]);
    expect(refused({ disks: ['a'], cpus: 255 }).message).toMatch(/cpus: 255/);
  });
});

const nasty = {
  toString: () => {
    throw new Error('nasty');
  },
  toJSON: () => {
    throw new Error('nasty');
  },
};

describe('each mistake is one error that names the option', () => {
  const cases: [string, unknown, RegExp][] = [
    ['nothing at all', undefined, /options are missing/],
    ['nothing to boot', {}, /nothing to boot/],
    ['a misspelt option', { disks: ['a'], cpu_count: 2 }, /no option "cpu_count"/],
    ['too little memory', { disks: ['a'], memory: '64K' }, /memory: 64K is not possible/],
    ['absurd memory', { disks: ['a'], memory: '100T' }, /memory: 100T is not possible/],
    ['memory that is no size', { disks: ['a'], memory: '12 apples' }, /memory: "12 apples" is not a size/],
    ['no vCPU', { disks: ['a'], cpus: 0 }, /cpus: 0/],
    [
      'a topology that is no whole number of vCPUs',
      { disks: ['a'], cpus: 6, topology: { cores: 4 } },
      /is not 6 vCPUs/,
    ],
    [
      'a topology part that is not known',
      { disks: ['a'], topology: { dies: 2 } },
      /topology: there is no option "dies"/,
    ],
    ['more APIC ids than there are', { disks: ['a'], topology: { sockets: 3, cores: 65 } }, /APIC ids above 254/],
    ['255 vCPUs in a topology', { disks: ['a'], topology: { sockets: 5, cores: 51 } }, /APIC ids above 254/],
    ['pages of another kind', { disks: ['a'], memory: { hugepages: '1G' } }, /memory\.hugepages: "1G"/],
    ['half a huge page', { disks: ['a'], memory: { size: '65M', hugepages: 'hugetlb' } }, /no multiple of the 2M/],
    ['a prefault that is no boolean', { disks: ['a'], memory: { prefault: 'yes' } }, /memory\.prefault: "yes"/],
    ['half a vCPU', { disks: ['a'], cpus: 1.5 }, /cpus: 1.5/],
    ['a disk that is a number', { disks: [7] }, /disks\[0\]/],
    ['a disk option that is not known', { disks: [{ path: 'a', readonly: true }] }, /no option "readonly"/],
    ['a format that is not there yet', { disks: [{ path: 'a', format: 'vmdk' }] }, /disks\[0\]\.format/],
    ['a cache mode that is none', { disks: [{ path: 'a', cache: 'none' as 'direct' }] }, /disks\[0\]\.cache/],
    ['an unknown policy for errors', { disks: [{ path: 'a', onError: 'ignore' as 'stop' }] }, /disks\[0\]\.onError/],
    ['a limit without a rate', { disks: [{ path: 'a', limit: {} }] }, /disks\[0\]\.limit: there is no rate/],
    ['a limit of nothing', { disks: [{ path: 'a', limit: { opsPerSecond: 0 } }] }, /limit\.opsPerSecond: 0/],
    ['a burst without a rate', { disks: [{ path: 'a', limit: { opsPerSecond: 1, bytesBurst: '1M' } }] }, /bytesBurst/],
    ['a misspelt rate', { disks: [{ path: 'a', limit: { bytesPerSec: 1 } }] }, /no option "bytesPerSec"/],
    ['a rate that is no size', { disks: [{ path: 'a', limit: { bytesPerSecond: 'fast' } }] }, /"fast" is not a size/],
    ['a long serial', { disks: [{ path: 'a', serial: 'x'.repeat(21) }] }, /serial/],
    ['a kernel without a path', { boot: { kernel: '' } }, /boot\.kernel: the path is empty/],
    ['NUL in a path', { disks: ['a\0b'] }, /expected text/],
    ['a boot disk that is not there', { disks: ['a'], boot: { disk: 1 } }, /boot\.disk/],
    ['a name with a slash', { disks: ['a'], name: '../x' }, /cannot be a name/],
    ['a signal that is none', { disks: ['a'], signal: {} }, /AbortSignal/],
    ['a list of holes for disks', { disks: new Array(3) }, /disks\[0\]: expected a path/],
    ['endless holes for disks', { disks: new Array(2 ** 32 - 1) }, /4294967295 are too many/],
    ['a list for a disk', { disks: [['a']] }, /disks\[0\]: expected a path/],
    ['a list for memory', { disks: ['a'], memory: [] }, /memory: \[\]/],
    ['a list for a topology', { disks: ['a'], topology: [] }, /topology: \[\]/],
    ['a list for a CPU', { disks: ['a'], cpu: [] }, /cpu: \[\]/],
    ['a list for the boot', { disks: ['a'], boot: [] }, /boot: expected options/],
    ['a list for the console', { disks: ['a'], console: [] }, /console: expected options/],
    ['a list for the options', ['a'], /options are missing/],
    ['holes for features', { disks: ['a'], cpu: { add: new Array(2) } }, /cpu\.add: expected text/],
    [
      'a transport without a prototype',
      { disks: ['a'], transport: Object.create(null) },
      /transport: \{\} is not known/,
    ],
    ['a transport that is a symbol', { disks: ['a'], transport: Symbol('pci') }, /transport: symbol is not known/],
    ['values that throw', { disks: ['a'], onReboot: nasty }, /onReboot: object is not known/],
    [
      'a URL of the web',
      { boot: { kernel: new URL('http://a/b') } },
      /boot\.kernel: "http:\/\/a\/b" is not the URL of a file/,
    ],
    ['a URL of another host', { disks: [new URL('file://host/x')] }, /disks\[0\]\.path: "file:\/\/host\/x" is not/],
    ['NUL in a URL', { disks: [new URL('file:///a%00b')] }, /disks\[0\]\.path: expected text/],
    ['a logger that is none', { disks: ['a'], logger: {} }, /logger: it has no function "debug"/],
    ['a logger that is a number', { disks: ['a'], logger: 5 }, /logger: it has no function "debug"/],
    ['no logger by null', { disks: ['a'], logger: null }, /logger: it has no function "debug"/],
    ['half a logger', { disks: ['a'], logger: { debug() {}, info() {}, warn() {} } }, /no function "error"/],
    ['an onReboot that is none', { disks: ['a'], onReboot: 'explode' }, /onReboot/],
    ['a console buffer of nothing', { disks: ['a'], console: { buffer: 0 } }, /console\.buffer/],
  ];
  test.each(cases)('%s', (_, options, message) => {
    expect(refused(options).message).toMatch(message);
  });
});

describe('what decides about data is what it says, or refused', () => {
  const disk = (options: object) => ({ disks: ['a', { path: 'b', ...options }] });
  const diskSays = (name: 'readOnly' | 'ephemeral') => (value: unknown) =>
    diskConfig('disks[1]', { path: 'b', [name]: value } as DiskOptions).medium[name];
  const removable = ({ disks }: VmConfig) => disks[1]!.drive.removable;
  const booleans: [string, (value: unknown) => object, (config: VmConfig, value: unknown) => unknown][] = [
    ['memory.prefault', (prefault) => ({ memory: { prefault } }), ({ memory }) => memory.prefault],
    ['disks[1].readOnly', (readOnly) => disk({ readOnly }), (_, value) => diskSays('readOnly')(value)],
    ['disks[1].ephemeral', (ephemeral) => disk({ ephemeral }), (_, value) => diskSays('ephemeral')(value)],
    ['disks[1].removable', (value) => disk({ removable: value }), removable],
  ];
  test.each(booleans)('%s', (name, options, configured) => {
    const given = (value: unknown) => ({ disks: ['a'], ...options(value) });
    for (const value of [true, false]) expect(configured(normalize(given(value) as VmOptions), value)).toBe(value);
    expect(configured(normalize(given(undefined) as VmOptions), undefined)).toBe(false);
    const other = fc
      .oneof(fc.constantFrom<unknown>(1, 0, 'true', 'false', 'yes', '', null, Number.NaN), fc.anything())
      .filter((value) => typeof value !== 'boolean' && value !== undefined);
    fc.assert(
      fc.property(other, (value) => {
        expect(refused(given(value)).message).toContain(name);
      }),
    );
  });

  test('an ephemeral disk with a limit', () => {
    const ephemeral = (value: unknown) =>
      diskConfig('disk', { path: 'a', ephemeral: value as boolean }).medium.ephemeral;
    expect(ephemeral({ limit: '1G' })).toEqual({ limit: 2 ** 30 });
    for (const value of [{}, { limit: 0 }, { limit: '-1' }, { limit: null }, { limit: 4095 }])
      expect(refused({ disks: [{ path: 'a', ephemeral: value }] }).message).toMatch(/disks\[0\]\.ephemeral\.limit/);
    expect(refused({ disks: [{ path: 'a', ephemeral: { size: '1G' } }] }).message).toMatch(/no option "size"/);
  });
});

test('whatever is passed is accepted or refused, never anything else', () => {
  const keys = fc.constantFrom(
    'name',
    'memory',
    'cpus',
    'cpu',
    'topology',
    'boot',
    'disks',
    'console',
    'transport',
    'onReboot',
    'ioWorker',
    'logger',
    'signal',
  );
  fc.assert(
    fc.property(
      fc.dictionary(keys, fc.anything({ withNullPrototype: true, withSparseArray: true, withBigInt: true }), {
        maxKeys: 5,
      }),
      (options) => {
        try {
          normalize(options as VmOptions);
        } catch (error) {
          expect(error).toBeInstanceOf(TsvmmError);
        }
      },
    ),
  );
});

test('T25: sizes and durations are whole and exact, or refused', () => {
  expect([parseSize('s', '1.5G'), parseSize('s', 4096), parseSize('s', '64K'), parseSize('s', '2MiB')]).toEqual([
    1610612736, 4096, 65536, 2097152,
  ]);
  expect([parseDuration('d', '30s'), parseDuration('d', 5), parseDuration('d', '1.5m')]).toEqual([30_000, 5, 90_000]);
  expect([formatSize(1610612736), formatSize(512), formatSize(4096)]).toEqual(['1.5G', '512 bytes', '4K']);
  for (const bad of ['', 'G', '-1', '1e99', '9007199254740993', '16777216T', 2 ** 53, 0.5, Number.NaN, -5, null, {}])
    expect(() => parseSize('s', bad)).toThrow(TsvmmError);
});

test('a logger is what has the four functions, of its own or not', () => {
  for (const logger of [
    console,
    new (class {
      debug() {}
      info() {}
      warn() {}
      error() {}
    })(),
  ])
    expect(normalize({ disks: ['a'], logger }).logger).toBe(logger);
});
