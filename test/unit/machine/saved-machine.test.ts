/** What a snapshot says of a machine, and what is made of it when a stranger says so. */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { expect, describe as group, test } from 'vitest';
import { AcpiPmMap } from '../../../src/devices/acpi-pm.js';
import { I8042Map } from '../../../src/devices/i8042.js';
import { ramRegions } from '../../../src/devices/memory-map.js';
import { PciBusMap, PciFunctionMap } from '../../../src/devices/pci/registers.js';
import { RtcMap } from '../../../src/devices/rtc-registers.js';
import { SerialMap } from '../../../src/devices/serial-registers.js';
import { TsvmmError } from '../../../src/errors.js';
import { encodeClock } from '../../../src/kvm/clock-save.js';
import { encodeCpuid } from '../../../src/kvm/cpuid-entry.js';
import { lapicStateSize, xsaveSize } from '../../../src/kvm/ioctls.js';
import {
  KvmDebugregs,
  KvmIrqchip,
  KvmMpState,
  KvmPitState2,
  KvmRegs,
  KvmSregs,
  KvmVcpuEvents,
  KvmXcrs,
} from '../../../src/kvm/structs.js';
import type { VcpuSave } from '../../../src/kvm/vcpu-save.js';
import { MachineImage, type MachineParts } from '../../../src/machine/machine-image.js';
import { normalize, type VmOptions } from '../../../src/machine/options.js';
import type { SavedDrive } from '../../../src/machine/saved-disks.js';
import {
  describe,
  readDescription,
  readImage,
  type SavedDescription,
  sectionsOf,
  stateVersion,
} from '../../../src/machine/saved-machine.js';
import { byteRingSize } from '../../../src/memory/byte-ring.js';
import { layoutControl, MachineControlMap, VcpuControlMap } from '../../../src/memory/control.js';
import type { Manifest } from '../../../src/snapshot/manifest.js';
import { OpenSnapshot } from '../../../src/snapshot/open-snapshot.js';
import { blkShape } from '../../../src/virtio/blk/blk-format.js';
import { consoleShape } from '../../../src/virtio/console/console-format.js';
import { ConsoleMap, layoutConsole } from '../../../src/virtio/console/console-state.js';
import { VirtioDeviceMap, VirtioQueueMap } from '../../../src/virtio/registers.js';
import { rngShape } from '../../../src/virtio/rng/rng.js';
import { layoutPlatform, type PlatformShape } from '../../../src/virtio/transport/platform.js';

const MIB = 1024 ** 2;
const cpus = 2;
const shape: PlatformShape = {
  cpus,
  ram: 64 * MIB,
  physicalBits: 46,
  transport: 'pci',
  virtio: [
    blkShape({ name: 'disk0', size: MIB, readOnly: false, queues: 2 }),
    rngShape('rng'),
    consoleShape('console'),
  ],
  serial: { blockWhenFull: false, outputCapacity: 65_536 },
  debugExit: true,
};
const facts = { msrs: [], xsaveBytes: xsaveSize };
const filled = (size: number, seed: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => i * 13 + seed);
const chip = (id: number): Uint8Array => {
  const bytes = filled(KvmIrqchip.size, id);
  bytes.fill(0, 0, 4);
  bytes[0] = id;
  return bytes;
};
const vcpu = (seed: number): VcpuSave => ({
  'mp-state': filled(KvmMpState.size, seed),
  regs: filled(KvmRegs.size, seed + 1),
  sregs: filled(KvmSregs.size, seed + 2),
  xsave: filled(xsaveSize, seed + 3),
  xcrs: filled(KvmXcrs.size, seed + 4),
  debugregs: filled(KvmDebugregs.size, seed + 5),
  lapic: filled(lapicStateSize, seed + 6),
  msrs: filled(16 * 5, seed + 7),
  events: filled(KvmVcpuEvents.size, seed + 8),
});
const regions = ramRegions(64 * MIB);
const parts: MachineParts = {
  cpuid: [{ function: 0, index: 0, flags: 0, eax: 7, ebx: 1, ecx: 2, edx: 3 }],
  shape,
  state: filled(4096, 9).buffer as ArrayBuffer,
  vcpus: [vcpu(10), vcpu(50)],
  vm: { 'pic-master': chip(0), 'pic-slave': chip(1), ioapic: chip(2), pit: filled(KvmPitState2.size, 3) },
  clock: {
    clockNs: 5n,
    realtimeNs: 6n,
    tscs: [
      { khz: 2_000_000, value: 7n, offset: -8n },
      { khz: 2_000_000, value: 9n, offset: undefined },
    ],
  },
  regions,
  memory: [{ offset: 0, length: 64 * MIB }],
};
const image = new MachineImage(parts);

const drive: SavedDrive = {
  onError: 'report',
  serial: 'S123',
  removable: false,
  limit: { bytesPerSecond: 1000, opsBurst: 5 },
  readOnly: false,
  direct: false,
  told: { size: 1_048_576, readOnly: false, blockSize: 512, ioSize: 4096 },
};

/** As if it had been written and opened again. */
function open(machine: unknown, sections: Iterable<readonly [string, Uint8Array]> = sectionsOf(image)): OpenSnapshot {
  const manifest = {
    machine,
    tsvmm: '9.9.9',
    memory: { regions, pieces: [{ length: 64 * MIB }] },
  } as unknown as Manifest;
  return new OpenSnapshot({
    ...{ directory: '/snapshots/one', manifest, sha256: '', sections: new Map(sections) },
    ...{ layers: [], disks: [], files: undefined as never },
  });
}

function refusal(task: () => unknown): TsvmmError {
  try {
    task();
  } catch (error) {
    expect(error).toBeInstanceOf(TsvmmError);
    expect((error as TsvmmError).code).toBe('ERR_TSVMM_SNAPSHOT');
    expect((error as TsvmmError).hint).toBeTruthy();
    return error as TsvmmError;
  }
  throw new Error('taken');
}

group('the description', () => {
  const kernel: VmOptions = { boot: { kernel: '/boot/vmlinuz', initrd: '/boot/initrd', cmdline: 'quiet "x"\n' } };
  test.each<[string, VmOptions]>([
    ['that boots a kernel', kernel],
    ['that boots a kernel and nothing else', { boot: { kernel: '/k' } }],
    ['that boots a disk', { disks: ['a', 'b'], boot: { disk: 1, entry: 3, append: 'single' } }],
    ['that boots an entry by its name', { disks: ['a'], boot: { entry: 'Debian, with Linux 6.1' } }],
    ['of another kind', { ...kernel, transport: 'mmio', onReboot: 'exit', name: 'x'.repeat(64) }],
    ['with a console of its own', { ...kernel, console: { device: 'virtio', whenUnread: 'block', buffer: '256M' } }],
    [
      'with processors of its own',
      {
        ...kernel,
        topology: { sockets: 2, cores: 3 },
        cpu: { model: 'x86-64-v3', add: ['aes'], remove: ['avx', 'kvm_pv_eoi'] },
      },
    ],
    ['with other pages', { ...kernel, memory: { size: '3G', hugepages: 'off' } }],
  ])('of a machine %s is the same when it is read again', (_, options) => {
    const config = normalize(options);
    const told = describe(config, image, [drive]);
    const read = readDescription(open(JSON.parse(JSON.stringify(told))));
    expect(read).toEqual({ ...told, memory: 64 * MIB });
    const { name, cpu, topology, transport, onReboot, console } = config;
    const hugepages = config.memory.hugepages;
    expect(read).toMatchObject({ name, cpu, topology, transport, onReboot, console, hugepages, stateVersion });
    expect(read.boot).toEqual(JSON.parse(JSON.stringify(config.boot)));
    expect(read.drives).toEqual([drive]);
    expect(read.shape).toEqual(shape);
  });

  test('says where the kernel is, wherever the program is that reads it', () => {
    const told = describe(normalize({ boot: { kernel: 'vmlinuz', initrd: '../initrd' } }), image, []);
    expect(told.boot).toEqual({ kind: 'kernel', kernel: resolve('vmlinuz'), initrd: resolve('../initrd') });
    readDescription(open(told));
  });

  test('of another version of the state is refused, with who can read it', () => {
    const told = { ...describe(normalize(kernel), image, []), stateVersion: stateVersion + 1 };
    const { message, hint } = refusal(() => readDescription(open(told)));
    expect(message).toContain(`its machine state is of version ${stateVersion + 1}, this tsvmm knows ${stateVersion}`);
    expect(hint).toContain('9.9.9');
  });
});

type Path = readonly (string | number)[];
type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Every place in a value, the outermost too. */
function placesIn(value: Json, at: Path = []): Path[] {
  const inside = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [at, ...inside.flatMap(([key, child]) => placesIn(child, [...at, Array.isArray(value) ? Number(key) : key]))];
}
const placed = (value: Json, at: Path): Json => at.reduce<Json>((of, key) => (of as Record<string, Json>)[key]!, value);

/** With another value there, or with none. */
function changed(value: Json, at: Path, to: Json | undefined): Json {
  const root: Record<string, Json> = { value: structuredClone(value) };
  const path = ['value', ...at];
  const parent = placed(root, path.slice(0, -1)) as Record<string, Json>;
  if (to === undefined) delete parent[path.at(-1)!];
  else parent[path.at(-1)!] = to;
  return root['value']!;
}

group('a stranger who writes the description', () => {
  const options: VmOptions = {
    boot: { kernel: '/k', initrd: '/i', cmdline: 'c' },
    cpu: { add: ['aes'], remove: ['avx'] },
  };
  const whole = describe(normalize(options), image, [drive]) as unknown as Json;
  const disk = describe(normalize({ disks: ['a'], boot: { entry: 3 } }), image, [drive]) as unknown as Json;
  const places = [whole, disk].flatMap((of) => placesIn(of).map((at): [Json, Path] => [of, at]));
  const optional = /(^|\.)(initrd|cmdline|entry|serial|limit|bytesPerSecond|opsBurst)$/;
  const isOptional = (at: Path): boolean => optional.test(at.join('.')) && at.join('.') !== 'shape.serial';
  const wrong = (value: Json): readonly Json[] => {
    const other: Json[] = [null, 'no\0thing', [null]];
    if (typeof value === 'number') other.push(-1, 1.5, 1e300);
    if (typeof value !== 'boolean') other.push(true);
    if (!Array.isArray(value)) other.push([]);
    if (typeof value !== 'object') other.push({});
    return other;
  };

  test('is refused for anything of another type or too large, with the place', () => {
    for (const [of, at] of places)
      for (const value of wrong(placed(of, at))) {
        const { message } = refusal(() => readDescription(open(changed(of, at, value))));
        expect(message).toContain('manifest.json: machine');
        if (typeof at.at(-1) === 'string' && value !== null) expect(message).toContain(String(at.at(-1)));
        expect(message.length).toBeLessThan(400);
      }
  });

  test('is refused for anything that is missing, and for anything that nobody knows', () => {
    for (const [of, at] of places) {
      if (typeof at.at(-1) === 'string') {
        const without = open(changed(of, at, undefined));
        if (isOptional(at)) readDescription(without);
        else refusal(() => readDescription(without));
      }
      const old = placed(of, at);
      if (typeof old !== 'object' || old === null || Array.isArray(old)) continue;
      const more = changed(of, [...at, 'stranger'], 1);
      expect(refusal(() => readDescription(open(more))).message).toContain('there is no field "stranger" here');
    }
  });

  test.each<[string, Path, Json]>([
    ['more processors than there can be', ['topology', 'cores'], 256],
    ['none', ['topology', 'threads'], 0],
    ['a relative path', ['boot', 'kernel'], 'vmlinuz'],
    ['a path too long', ['boot', 'initrd'], `/${'x'.repeat(4096)}`],
    ['a command line too long', ['boot', 'cmdline'], 'x'.repeat(65_537)],
    ['a name with a slash', ['name'], 'a/b'],
    ['a name too long', ['name'], 'x'.repeat(65)],
    ['a buffer too small', ['console', 'buffer'], 4095],
    ['a buffer too large', ['console', 'buffer'], 256 * MIB + 1],
    ['pages that nobody can share', ['hugepages'], 'hugetlb'],
    ['a third transport', ['transport'], 'ccw'],
    ['many features', ['cpu', 'add'], new Array(513).fill('aes')],
    ['many drives', ['drives'], new Array(65).fill(drive as unknown as Json)],
    ['many devices', ['shape', 'virtio'], new Array(65).fill(shape.virtio[1] as unknown as Json)],
    ['a device whose name is an escape sequence', ['shape', 'virtio', 0, 'name'], '\x1b[2J'],
    ['features of three words', ['shape', 'virtio', 0, 'features'], [0, 0, 0]],
    ['no such kind of boot', ['boot', 'kind'], 'net'],
    ['a prototype', ['boot', 'kind'], 'constructor'],
    ['a prototype for a field', ['shape'], { __proto__: null }],
    ['a limit of zero', ['drives', 0, 'limit', 'opsBurst'], 0],
  ])('is refused for %s', (_, at, value) => {
    const { message } = refusal(() => readDescription(open(changed(whole, at, value))));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what is looked for
    expect(message).not.toMatch(/[\0-\x1f\x7f-\x9f]/);
  });

  test('of nothing sensible at all is answered in the same way', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        refusal(() => readDescription(open(value)));
      }),
    );
  });
});

group('the sections', () => {
  const told = describe(normalize({ boot: { kernel: '/k' } }), image, []);
  const of = (cpus: number): SavedDescription => ({ ...told, topology: { sockets: 1, cores: cpus, threads: 1 } });

  test('are a machine again', () => {
    const read = readImage(open(told), of(cpus), facts);
    expect({ ...read.parts, state: new Uint8Array(read.parts.state) }).toEqual({
      ...parts,
      state: new Uint8Array(parts.state),
      memory: [{ offset: 0, length: 64 * MIB }],
    });
    read.release();
  });

  const names = [...sectionsOf(image).keys()];

  test.each(names)('one that is missing is named: %s', (name) => {
    const rest = [...sectionsOf(image)].filter(([other]) => other !== name);
    expect(refusal(() => readImage(open(told, rest), of(cpus), facts)).message).toContain(
      `it has no section "${name}"`,
    );
  });

  test.each(
    names.filter((name) => name !== 'machine-state').flatMap((name) => [-1, 1].map((more) => [name, more] as const)),
  )('%s of another length (%i) is refused', (name, more) => {
    const sections = sectionsOf(image);
    sections.set(name, new Uint8Array(sections.get(name)!.length + more));
    refusal(() => readImage(open(told, sections), of(cpus), facts));
  });

  test('of another number of vCPUs are refused', () => {
    refusal(() => readImage(open(told), of(cpus + 1), facts));
    refusal(() => readImage(open(told), of(cpus - 1), facts));
    const clock = encodeClock({ ...parts.clock, tscs: new Array(500).fill(parts.clock.tscs[0]) });
    expect(
      refusal(() => readImage(open(told, sectionsOf(image).set('clock', clock)), of(500), facts)).message,
    ).toContain('vcpu2');
  });

  test('with one interrupt controller in the place of another are refused', () => {
    const sections = sectionsOf(image);
    sections.set('ioapic', chip(0));
    expect(refusal(() => readImage(open(told, sections), of(cpus), facts)).message).toContain('ioapic');
  });

  test('of a CPUID of any length that it can have are taken', () => {
    const sections = sectionsOf(image).set('cpuid', encodeCpuid(new Array(300).fill(parts.cpuid[0])));
    expect(readImage(open(told, sections), of(cpus), facts).parts.cpuid).toHaveLength(300);
  });
});

test('the layout of machine state is that of its version', () => {
  const maps = [
    ...[RtcMap, I8042Map, AcpiPmMap, SerialMap, VirtioDeviceMap, VirtioQueueMap, PciBusMap, PciFunctionMap],
    ...[ConsoleMap, MachineControlMap, VcpuControlMap],
  ].map(({ name, size, offsets }) => ({ name, size, offsets }));
  const control = layoutControl(cpus, 0);
  const console = layoutConsole(control.end);
  const platforms = (['pci', 'mmio'] as const).map((transport) => {
    const { chipset, pci, virtio, doorbells, end } = layoutPlatform({ ...shape, transport }, console.end);
    const devices = virtio.map(({ shape: _, ...offsets }) => offsets);
    return { chipset, functions: pci && [pci.bus, ...pci.functions], virtio: devices, doorbells, end };
  });
  const layout = JSON.stringify({ maps, control, console, platforms, ring: [1, 64].map(byteRingSize) });
  expect(
    { stateVersion, layout: createHash('sha256').update(layout).digest('hex') },
    'another layout of machine state: raise stateVersion in src/machine/saved-machine.ts, or old snapshots are read wrongly, and pin the new digest here',
  ).toEqual({ stateVersion: 1, layout: 'b024f82bcce90d1034a4e56cec4fe8f429c9a681997fd075fc16d698de73ee45' });
});
