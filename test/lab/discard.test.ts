/**
 * What a Debian guest discards takes no room on its host any more, and what it zeroes is zero: by fstrim, by mount -o discard,
 * by blkdiscard and fallocate on the device; on a plain file, with direct I/O and on an ephemeral disk, whose limit counts
 * what is there and not what has ever been.
 *
 * The guest stops at each step until the host has looked at the blocks of its files (st_blocks).
 */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { ensureFioDisk } from '../../scripts/lab/index.js';
import { bootTimeout, patient } from './support/disks.js';
import { guestScript, openLab } from './support/lab.js';

const MiB = 2 ** 20;
/** /dev/vdb, c and d have a file system, e, f and g a pattern. */
const kinds = ['file', 'direct', 'ephemeral'] as const;
const rounds = 3;
const [treeBytes, rawBytes] = [64 * MiB, 8 * MiB];
/** What each round writes and discards; all rounds together are more than the limit. */
const goneBytes = 8 * MiB;
const limit = 20 * MiB;

/** Each round writes to other blocks, since those of the round before have been reserved. */
const script = `
say() { echo "STEP $@"; read -r _ < /dev/console; }
for d in b c d; do
  way=nodiscard; [ $d = c ] && way=discard
  mount -o $way /dev/vd$d /mnt && yes "kept by $d" | head -c ${MiB} > /mnt/kept
  for i in 1 2 3; do
    yes "$d $i" | head -c ${goneBytes} > /mnt/gone && sync && say written $d $i
    rm /mnt/gone && sync
    [ $d = c ] || fstrim -v /mnt
    umount /mnt && say given $d $i; mount -o $way /dev/vd$d /mnt
    fallocate -l ${goneBytes} /mnt/reserved$i || echo FAILED
  done
  echo 3 > /proc/sys/vm/drop_caches; echo "KEPT $d $(sha256sum < /mnt/kept)"; umount /mnt
done
for d in e f g; do
  v=/dev/vd$d; b="-l 1M $v"
  blkdiscard -f -o 0 $b && blkdiscard -f -z -o 1M $b && fallocate -z -o 2M $b && fallocate -p -o 3M $b || echo FAILED
  sync; echo 3 > /proc/sys/vm/drop_caches; echo "RAW $d $(sha256sum < $v)"; say raw $d
done`;

/** In the lab: the machine, and at every step of it the bytes that each file takes. */
const session = `
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { VirtualMachine } from './dist/index.js';
const named = (name, ending) => '/root/' + name + ending;
const taken = (path) => statSync(path).blocks * 512;
function overlays() {
  const paths = readdirSync('/proc/self/fd').map((fd) => '/proc/self/fd/' + fd);
  const files = paths.filter((path) => { try { return readlinkSync(path).startsWith('/var/tmp/'); } catch { return false; } });
  return Object.fromEntries(files.map((path) => [statSync(path).size, taken(path)]));
}
const disk = (ending) => [
  named('file', ending),
  { path: named('direct', ending), cache: 'direct' },
  { path: named('ephemeral', ending), ephemeral: { limit: ${limit} } },
];
const vm = await VirtualMachine.start({
  disks: [{ path: '/root/fio.img', readOnly: true }, ...disk('.tree'), ...disk('.raw')],
  boot: { kernel: '/images/vmlinuz', initrd: '/images/initrd.img', cmdline: process.env.CMDLINE },
});
const warnings = [];
const steps = {};
let output = '';
vm.on('warning', ({ message }) => warnings.push(message));
vm.console.on('data', (chunk) => {
  output += chunk.toString('latin1');
  for (const [, what] of output.matchAll(/^STEP (.*)\\r\\n/gm)) {
    if (what in steps) continue;
    const [, letter] = what.split(' ');
    const [name, ending] = [['file', 'direct', 'ephemeral']['bcdefg'.indexOf(letter) % 3], letter < 'e' ? '.tree' : '.raw'];
    const path = named(name, ending);
    steps[what] = name === 'ephemeral' ? overlays()[statSync(path).size] : taken(path);
    vm.console.write('\\n');
  }
});
const { reason } = await vm.exited;
console.log(JSON.stringify({ reason, warnings, steps, output }));
`;

const made = `cd /root
for n in ${kinds.join(' ')}; do
  truncate -s ${treeBytes} $n.tree; mkfs.ext4 -q $n.tree
  yes "raw $n" | head -c ${rawBytes} > $n.raw
done
sync; sha256sum ephemeral.tree ephemeral.raw`;

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const lines = (text: string, bytes: number): Buffer => Buffer.alloc(bytes, `${text}\n`);

test('what is discarded is given back to the host, what is zeroed is zero', {
  timeout: bootTimeout * 1500,
}, async () => {
  await using lab = await openLab({ copy: [{ from: await ensureFioDisk(), to: '/root/fio.img' }] });
  const shell = async (text: string): Promise<string> => {
    const { stdout, stderr, exitCode } = await lab.exec(['sh', '-ec', text], { timeout: bootTimeout });
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
    return stdout;
  };
  const before = await shell(made);
  const words = `console=ttyS0 root=/dev/vda ro ${patient} init=/usr/local/sbin/tsvmm-marker`;
  const run = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
    env: { CMDLINE: `${words} ${guestScript(script)}` },
  });
  expect(run).toMatchObject({ exitCode: 0, stderr: '' });
  const { reason, warnings, steps, output } = JSON.parse(run.stdout) as {
    reason: string;
    warnings: string[];
    steps: Record<string, number>;
    output: string;
  };
  expect({ reason, warnings }, output).toEqual({ reason: 'power-off', warnings: [] });
  expect(output).not.toContain('FAILED');

  for (const [index, kind] of kinds.entries()) {
    const [tree, raw] = ['bcd'[index]!, 'efg'[index]!];
    for (let round = 1; round <= rounds; round++) {
      const [written, given] = [steps[`written ${tree} ${round}`]!, steps[`given ${tree} ${round}`]!];
      const what = `${kind}, round ${round}: ${written}, then ${given}`;
      expect(written - given, what).toBeGreaterThan(goneBytes * 0.9);
      if (kind === 'ephemeral') expect(written, what).toBeLessThanOrEqual(limit);
    }
    const kept = lines(`kept by ${tree}`, MiB);
    expect(output, kind).toContain(`KEPT ${tree} ${sha256(kept)}`);
    const content = lines(`raw ${kind}`, rawBytes).fill(0, 0, 4 * MiB);
    expect(output, kind).toContain(`RAW ${raw} ${sha256(content)}`);
    // Of the first four, two are holes and two have kept their room; the rest of an ephemeral disk is in its image.
    const room = (kind === 'ephemeral' ? 2 : rawBytes / MiB - 2) * MiB;
    expect(Math.abs(steps[`raw ${raw}`]! - room), `${kind}: ${steps[`raw ${raw}`]}`).toBeLessThan(64 * 1024);
    if (kind === 'ephemeral') continue;
    const sums = await shell(
      `cd /root; e2fsck -fn ${kind}.tree; mount -o loop,ro ${kind}.tree /mnt; sha256sum /mnt/kept ${kind}.raw; umount /mnt`,
    );
    expect(sums, kind).toContain(`${sha256(kept)}  /mnt/kept\n${sha256(content)}  ${kind}.raw\n`);
  }
  expect(await shell('cd /root; sha256sum ephemeral.tree ephemeral.raw')).toBe(before);
});
