/**
 * The test guests under QEMU: what they claim about a machine must hold on one that is known to be right. Software
 * emulation (TCG) is the reference; KVM shows that the guests keep to what an emulated ring 0 can execute.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitCodeOf, GuestExit, whyNoGuests } from '../guests/guests.js';
import {
  type Accelerator,
  type Machine,
  type QemuRun,
  runUnderQemu,
  whyNoKvm,
  whyNoQemu,
} from '../guests/under-qemu.js';
import { diskBytes, examine } from '../support/records.js';

const success = exitCodeOf(GuestExit.ok);
const sectorBytes = 512;
const slowTimeout = 150_000;

const folder = mkdtempSync(join(tmpdir(), 'guests-under-qemu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A disk with the pattern of the guest virtio-blk: word i of sector s is s * 128 + i + seed. */
function patternDisk(name: string, sectors: number, seed: number): string {
  const words = new Uint32Array((sectors * sectorBytes) / 4).map((_, index) => index + seed);
  const path = join(folder, name);
  writeFileSync(path, words);
  return path;
}
const blk = (path: string, extra = '') => [
  ...['-drive', `if=none,id=disk,format=raw,file=${path}${extra}`],
  ...['-device', 'virtio-blk-pci,disable-legacy=on,drive=disk,serial=guest-disk'],
];
const rng = ['-device', 'virtio-rng-pci,disable-legacy=on'];
const quietConsole = [
  '-chardev',
  'null,id=c',
  '-device',
  'virtio-serial-pci,disable-legacy=on',
  '-device',
  'virtconsole,chardev=c',
];
/**
 * Attacks that QEMU itself does not take well: device writes to the LAPIC are interrupts there, huge buffers take minutes,
 * and behind the RAM of the memory map lie ACPI tables, which as descriptors are huge buffers too.
 */
const hostileLimits =
  'skip-bridges avoid=3f8-3ff,510-51b,600-67f skip=in_the_lapic,data_in_the_lapic,data_huge,data_2_gib,indirect_across_the_end';

async function expectSuccess(run: QemuRun, ...lines: (string | RegExp)[]): Promise<string> {
  const result = await runUnderQemu(run);
  const shown = `${result.output}\n${result.errors}`;
  expect(result.timedOut, shown).toBe(false);
  for (const line of lines) expect(result.output).toMatch(line);
  expect(result.code, shown).toBe(success);
  return result.output;
}

/** Guests that need no PCI: they run on both machines. */
function suite(machine: Machine, accelerator: Accelerator) {
  const on = { machine, accelerator } as const;

  test('hello', async () => {
    const result = await runUnderQemu({ ...on, guest: 'hello' });
    expect(result.output).toBe('hello from guest\n');
    expect(result.code).toBe(success);
  });

  test.each(['halt', 'spin'] as const)('%s stays', async (guest) => {
    const line = { halt: 'halt: sleeping\n', spin: 'spin: looping\n' }[guest];
    const result = await runUnderQemu({ ...on, guest, until: line, lingerMs: 300 });
    expect(result.output).toBe(line);
    expect(result.code).toBeNull();
    expect(result.timedOut).toBe(false);
  });

  test('triple ends in a reset', async () => {
    const result = await runUnderQemu({ ...on, guest: 'triple' });
    expect(result.output).toBe('triple: faulting\n');
    expect(result.code).toBe(0); // -no-reboot makes a reset the end
  });

  test('panic reaches pvpanic', async () => {
    const args = ['-device', 'pvpanic', '-action', 'panic=exit-failure'];
    const result = await runUnderQemu({ ...on, guest: 'panic', args });
    expect(result.output).toContain('Kernel panic - not syncing: as the test asked\n');
    expect(result.output).not.toContain('still running');
    expect(result.code).toBe(1);
  });

  test('panic without a device says so', async () => {
    const result = await runUnderQemu({ ...on, guest: 'panic' });
    expect(result.output).toContain('usage: no pvpanic device answers at port 0x505\n');
    expect(result.code).toBe(exitCodeOf(GuestExit.usage));
  });

  test.each(['ioapic', 'pic', 'poll'])('echo by %s', async (by) => {
    const lines = Array.from({ length: 60 }, (_, i) => `line ${i} ${'x'.repeat(i)}`);
    const output = await expectSuccess({
      ...on,
      guest: 'echo',
      append: `by=${by}`,
      dialogue: [
        { after: 'echo ready\n', send: 'a\n' },
        { after: 'echo: a\n', send: `${lines.join('\n')}\n` },
        { after: `echo: ${lines.at(-1)}\n`, send: 'quit\n' },
      ],
    });
    expect(output).toContain(lines.map((line) => `echo: ${line}\n`).join(''));
    const counts =
      /echo counts: lines 61 bytes (\d+) interrupts (\d+) .* overruns 0 lost 0 burst \d+\necho done\n$/.exec(output);
    expect(counts, output).not.toBeNull();
    expect(Number(counts![1])).toBe(`a\n${lines.join('\n')}\nquit\n`.length);
    if (by === 'poll') expect(Number(counts![2])).toBe(0);
    else expect(Number(counts![2])).toBeGreaterThan(0);
  });

  test.each([
    [1, ''],
    [4, ''],
    [5, 'all'],
    [32, ''],
  ])('smp with %i cpus %s', async (cpus, how) => {
    const args = ['-smp', `${cpus}`];
    const output = await expectSuccess({ ...on, guest: 'smp', append: `cpus=${cpus} ${how}`, args });
    expect(output).toContain(`smp ${cpus} ok: counter ${cpus * 1000}\n`);
    const ids = [...output.matchAll(/^(?:boot )?cpu apic (\d+) /gm)].map((match) => Number(match[1]));
    expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: cpus }, (_, i) => i));
  });

  test.each(['64', '5120'])('memory of %s MiB', async (mebibytes) => {
    const output = await expectSuccess({ ...on, guest: 'memory', args: ['-m', mebibytes] }, /^memory ok: \d+ MiB/m);
    const highest = Number(/highest (0x[0-9a-f]+)/.exec(output)?.[1]);
    if (Number(mebibytes) > 4096) expect(highest).toBeGreaterThan(2 ** 32);
  });

  test('timer', async () => {
    await expectSuccess(
      { ...on, guest: 'timer', append: 'ticks=5' },
      /^pit: 5 interrupts in \d+ ms$/m,
      /^lapic: 5 interrupts in \d+ ms/m,
      machine === 'q35' ? /^pm-timer: \d+ ticks in \d+ us$/m : /^pm-timer: absent$/m,
      accelerator === 'kvm' ? /^kvmclock: \d+ us passed/m : /^kvmclock: absent$/m,
      /^timer ok: 0 unexpected interrupts$/m,
    );
  });

  test('devices without PCI', async () => {
    await expectSuccess(
      { ...on, guest: 'devices', append: 'skip=pci' },
      /^serial: 16550A/m,
      /^rtc: 20\d\d-/m,
      /^devices ok$/m,
    );
  });
}

function pciSuite(accelerator: Accelerator) {
  // SeaBIOS takes 7 s where ring 0 is emulated, and several times that on a busy machine.
  const on = { machine: 'q35', accelerator, timeoutMs: slowTimeout - 10_000 } as const;
  let disk: string;
  beforeAll(() => {
    disk = patternDisk(`${accelerator}.img`, 256, 1);
  });

  test(
    'devices',
    async () => {
      const output = await expectSuccess(
        { ...on, guest: 'devices', args: [...blk(disk), ...rng] },
        /^pci 00:01.0 1af4:1042 class 0100/m,
        /^pci: \d+ functions, both mechanisms agree$/m,
        /^pci: 2 bars moved$/m,
        /^devices ok$/m,
      );
      expect(output.match(/ {2}moved bar /g)).toHaveLength(4);
    },
    slowTimeout,
  );

  test(
    'virtio-blk writes what the host then reads',
    async () => {
      const append = 'sectors=64 start=8 seed=77 event-index indirect depth=8 segments=3';
      await expectSuccess(
        { ...on, guest: 'virtio-blk', append, args: blk(disk) },
        /^blk id: "guest-disk"$/m,
        /^blk ok: /m,
      );
      const bytes = readFileSync(disk);
      const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
      expect(words[8 * 128 - 1]).toBe(8 * 128 - 1 + 1);
      for (let i = 8 * 128; i < 72 * 128; i++) if (words[i] !== i + 77) expect(words[i], `word ${i}`).toBe(i + 77);
      expect(words[72 * 128]).toBe(72 * 128 + 1);
    },
    slowTimeout,
  );

  test(
    'block drives two queues from ring 3, and after a firmware that places no BARs',
    async () => {
      const queues = blk(patternDisk(`block-${accelerator}.img`, 256, 3)).map((arg) =>
        arg.startsWith('virtio-blk-pci') ? `${arg},num-queues=2` : arg,
      );
      const append = 'requests=60 warm-up=0 depth=4 queues=2 seed=3';
      for (const args of [queues, [...queues, '-bios', 'qboot.rom']])
        await expectSuccess(
          { ...on, guest: 'block', append, args },
          /^block ok: requests 60 .* checked 64 tsc \d+ kHz$/m,
        );
      const output = await expectSuccess(
        { ...on, guest: 'block', append: `${append} mix=readwrite no-event-index no-indirect`, args: queues },
        /^block ok: requests 60 /m,
      );
      expect(Number(/checked (\d+)/.exec(output)![1])).toBeGreaterThan(5);
    },
    slowTimeout,
  );
}

const missing = whyNoQemu() ?? whyNoGuests();
if (missing !== undefined) console.warn(`guests under QEMU: skipped, ${missing}`);
const noKvm = missing ?? whyNoKvm();
if (missing === undefined && noKvm !== undefined) console.warn(`guests under QEMU with KVM: skipped, ${noKvm}`);

describe.skipIf(missing !== undefined)('guests under QEMU, software emulation', () => {
  suite('q35', 'tcg');
  pciSuite('tcg');
  const on = { machine: 'q35', accelerator: 'tcg' } as const;

  test.each(['i8042', 'acpi', 'cf9', 'triple'])('reset by %s', async (by) => {
    const result = await runUnderQemu({ ...on, guest: 'reset', append: `by=${by}` });
    expect(result.output).toBe('reset: resetting\n');
    expect(result.code).toBe(0);
  });

  test.each(['cmos', 'disk'])('reset counts its starts in %s', async (store) => {
    const args = blk(patternDisk('starts.img', 64, 0));
    const result = await runUnderQemu({ ...on, guest: 'reset', append: `count=3 store=${store}`, args, reboot: true });
    expect(result.output).toBe('reset: start 1 of 3\nreset: start 2 of 3\nreset: start 3 of 3\n');
    expect(result.code).toBe(success);
  });

  test('poweroff by S5', async () => {
    const result = await runUnderQemu({ ...on, guest: 'poweroff' });
    expect(result.output).toBe('poweroff: PM1a control at 0x604, S5 is type 0 (from the ACPI tables)\n');
    expect(result.code).toBe(0);
  });

  test('power-button', async () => {
    const report = join(folder, 'power-button-report');
    const monitor = ['-qmp', 'stdio'];
    const result = await runUnderQemu({
      ...on,
      guest: 'power-button',
      append: 'ignore=1',
      serial: `file:${report}`,
      args: monitor,
      watch: report,
      dialogue: [
        { after: 'waiting\n', send: '{"execute":"qmp_capabilities"}{"execute":"system_powerdown"}' },
        { after: 'press 1\n', send: '{"execute":"system_powerdown"}' },
      ],
    });
    expect(readFileSync(report, 'utf8')).toBe(
      'power-button: waiting\npower-button: press 1\npower-button: press 2\npower-button: powering off\n',
    );
    expect(result.code).toBe(0);
  });

  test('bad-instruction is none without KVM', async () => {
    await expectSuccess({ ...on, guest: 'bad-instruction' }, /^bad-instruction: executed$/m);
  });

  test.each(['by=msix', 'by=intx', 'by=poll', 'event-index queue-size=16 depth=16 chunk=3', 'indirect segments=5'])(
    'virtio-blk %s',
    async (append) => {
      const path = patternDisk('modes.img', 256, 5);
      const tests = 'tests=verify,write,flush,id,range,odd seed=5 sectors=128';
      const output = await expectSuccess(
        { ...on, guest: 'virtio-blk', append: `${append} ${tests}`, args: blk(path) },
        /^blk verify: 128 sectors from 0$/m,
        /^blk write: 128 sectors from 0 written and read back$/m,
        /^blk flush: done$/m,
        /^blk range: 6 requests refused$/m,
        /^blk odd: 2 requests refused$/m,
      );
      if (append === 'by=intx') expect(output).toMatch(/^blk intx: pin (1[6-9]|2[0-3]), 0 spurious$/m);
    },
  );

  test('virtio-blk read-only', async () => {
    const path = patternDisk('read-only.img', 64, 9);
    const before = readFileSync(path);
    await expectSuccess(
      {
        ...on,
        guest: 'virtio-blk',
        append: 'sectors=64 seed=9 tests=verify,checksum,read-only',
        args: blk(path, ',readonly=on'),
      },
      /^blk read-only: write refused, content unchanged$/m,
    );
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test.each(['flush', 'through', 'declined'])('records cache=%s', async (cache) => {
    const path = join(folder, `records.img`);
    writeFileSync(path, Buffer.alloc(diskBytes(8)));
    const append = `cache=${cache} slots=8 count=20`;
    await expectSuccess({ ...on, guest: 'records', append, args: blk(path) }, /^record 20$/m);
    expect(examine(readFileSync(path), 20)).toEqual({ highest: 20, missing: [] });
  });

  test('virtio-blk finds a wrong word', async () => {
    const path = patternDisk('wrong.img', 64, 1);
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(0xdead, 10 * sectorBytes + 12);
    writeFileSync(path, bytes);
    const result = await runUnderQemu({ ...on, guest: 'virtio-blk', append: 'tests=verify', args: blk(path) });
    expect(result.output).toContain('FAIL: sector 10 word 3 is 0xdead instead of 0x504\n');
    expect(result.code).toBe(exitCodeOf(GuestExit.checkFailed));
  });

  test('virtio-blk without a disk says so', async () => {
    const result = await runUnderQemu({ ...on, guest: 'virtio-blk' });
    expect(result.output).toContain('usage: no virtio-blk device number 0\n');
    expect(result.code).toBe(exitCodeOf(GuestExit.usage));
  });

  test.each(['microvm-acpi', 'microvm-words'] as const)('virtio over MMIO on %s', async (machine) => {
    const modern = ['-global', 'virtio-mmio.force-legacy=off', '-device', 'virtio-rng-device'];
    await expectSuccess(
      { ...on, machine, guest: 'virtio-rng', append: 'event-index depth=2', args: modern },
      /^rng ok: 16 requests, /m,
    );
    const disk = ['-drive', `if=none,id=disk,format=raw,file=${patternDisk(`${machine}.img`, 64, 1)}`];
    await expectSuccess(
      {
        ...on,
        machine,
        guest: 'virtio-blk',
        append: 'tests=verify,reset sectors=64 resets=2',
        args: [...modern, ...disk, '-device', 'virtio-blk-device,drive=disk'],
      },
      /^blk reset: 2 times/m,
      // A reset takes back the status whose interrupt is already under way in QEMU.
      /^blk edge: line \d+, \d+ spurious$/m,
    );
  });

  test('intx', async () => {
    const disk = patternDisk('intx.img', 64, 1);
    const shared = ['virtio-blk-pci,disable-legacy=on,drive=disk,addr=2', 'virtio-rng-pci,disable-legacy=on,addr=6'];
    await expectSuccess(
      {
        ...on,
        guest: 'intx',
        args: ['-drive', `if=none,id=disk,format=raw,file=${disk}`, ...shared.flatMap((device) => ['-device', device])],
      },
      /^intx ok: /m,
    );
  });

  test.each(['by=msix', 'by=intx', 'by=poll', 'event-index depth=2'])('virtio-rng %s', async (append) => {
    await expectSuccess(
      { ...on, guest: 'virtio-rng', append, args: rng },
      /^rng first:( [0-9a-f]{2}){16}$/m,
      /^rng ok: 16 requests, /m,
    );
  });

  test('msix', async () => {
    await expectSuccess({ ...on, guest: 'msix', args: rng }, /^msix ok$/m);
  });

  test.each(['by=msix', 'by=intx', 'by=poll', 'event-index buffers=1'])('virtio-console %s', async (append) => {
    // Both ports of a multiplexed stdio: the guest's serial report would be mixed with the console, so it goes to a file.
    const report = join(folder, 'console-report');
    const consoleOnStdio = [
      '-chardev',
      'stdio,id=c',
      '-device',
      'virtio-serial-pci,disable-legacy=on',
      '-device',
      'virtconsole,chardev=c',
    ];
    const result = await runUnderQemu({
      ...on,
      guest: 'virtio-console',
      append,
      serial: `file:${report}`,
      args: consoleOnStdio,
      dialogue: [
        { after: 'hello from virtio-console', send: 'some text\n' },
        { after: 'echo: some text', send: 'burst 20\n' },
        { after: 'burst line 19', send: `${'y'.repeat(500)}\nquit\n` },
      ],
    });
    const shown = `${result.output}\n${readFileSync(report, 'utf8')}`;
    expect(result.code, shown).toBe(success);
    expect(result.output).toContain(`echo: ${'y'.repeat(500)}\nbye\n`);
    expect(shown).toMatch(/^console ok: 525 bytes in, \d+ bytes out, 0 size changes/m);
  });

  test(
    'hostile survives',
    async () => {
      const hostile = (append: string, ...lines: (string | RegExp)[]): Promise<string> =>
        expectSuccess(
          {
            ...on,
            guest: 'hostile',
            timeoutMs: slowTimeout - 10_000,
            append: `seed=3 iterations=1000 ${append} ${hostileLimits}`,
            args: [...blk(patternDisk('hostile.img', 64, 0)), ...rng, ...quietConsole],
          },
          /^end: 3 virtio devices work again$/m,
          /^hostile survived: seed 3, 1000 iterations$/m,
          ...lines,
        );
      const output = await hostile('patience=5 parts=rings,status,configuration,bars,holes,ports');
      for (const name of ['rng', 'blk', 'console'])
        expect(output).toMatch(new RegExp(`^rings ${name} done: \\d+ ignored, \\d+ used, \\d+ needs-reset$`, 'm'));
      // On a busy host an answer may take longer than that.
      await hostile(
        'patience=3000 parts=rings only=loop_of_two,head_out_of_range',
        /^rings blk loop_of_two: needs-reset, recovered$/m,
        /^rings rng head_out_of_range: needs-reset, recovered$/m,
      );
    },
    slowTimeout,
  );
});

describe.skipIf(noKvm !== undefined)('guests under QEMU with KVM', () => {
  suite('microvm', 'kvm');
  pciSuite('kvm');

  test('bad-instruction is more than KVM emulates', async () => {
    const run = {
      guest: 'bad-instruction',
      machine: 'microvm',
      accelerator: 'kvm',
      until: 'KVM internal error',
    } as const;
    const result = await runUnderQemu(run);
    expect(result.output).toBe('bad-instruction: executing\n');
    expect(result.errors).toContain('KVM internal error');
  });
});
