/**
 * Debian that is written down and restored again and again at random moments: it tends memory, writes numbered records, keeps a
 * TCP connection between two of its processes, and looks at its clocks; it would say what it misses.
 *
 * The moments are drawn from a seed that is printed; TSVMM_TEST_SEED asks for one.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { drawFrom, testSeed } from '../support/records.js';
import { bootTimeout } from './support/disks.js';
import { full, guestScript, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-snapshot-'));
afterAll(() => rmSync(folder, { recursive: true }));

const times = full ? 20 : 3;

/** In the guest. Each beat is a record on the disk, a message there and back, all of its memory summed up, and a line. */
const life = `
use strict; use IO::Socket::INET; use IO::Handle;
$| = 1;
socket(my $any, 2, 2, 0); my $up = pack('a16 s x22', 'lo', 0x41); ioctl($any, 0x8914, $up); # lo: up, running
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 7777) or die "FAILED listen $!";
if (!fork) {
  my $peer = $server->accept; my $n = 0; $peer->autoflush(1);
  while (my $line = <$peer>) { chomp $line; print "FAILED heard $line for $n\\n" if $line != $n; $n++; print $peer "$line\\n"; }
  exit;
}
my $peer = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => 7777) or die "FAILED connect $!";
$peer->autoflush(1);
my $memory = pack('N*', map { ($_ * 2654435761) & 0xffffffff } 1 .. 500_000); my $sum = unpack('%32N*', $memory);
open(my $file, '>', '/root/records') or die "FAILED open $!"; $file->autoflush(1);
my $last = 0; my $n = 0; my $stop = 0;
for (; !$stop; $n++) {
  print $peer "$n\\n"; my $line = <$peer>; chomp $line; print "FAILED answer $line to $n\\n" if $line != $n;
  print "FAILED memory\\n" if unpack('%32N*', $memory) != $sum;
  print $file "record $n\\n"; $file->sync;
  open(my $proc, '<', '/proc/uptime'); my ($up) = split ' ', <$proc>; close $proc;
  print "FAILED clock from $last to $up\\n" if $up < $last; $last = $up;
  print "beat $n ", time, "\\n";
  my $ready = ''; vec($ready, 0, 1) = 1; $stop = select($ready, undef, undef, 0.2);
}
open($file, '<', '/root/records'); my $k = 0;
while (<$file>) { print "FAILED record $k is $_" if $_ ne "record $k\\n"; $k++; }
print "FAILED $k records of $n\\n" if $k != $n;
print "RECORDS $k\\n";
`;

const script = `mount -o remount,rw /; perl /root/life.pl
dmesg | grep -iE 'soft lockup|rcu.*stall|hung task|I/O error|clocksource.*unstable' && echo COMPLAINED
echo DONE`;

/** In the lab: each machine is killed once it is written, and the next one goes on with the same disk. */
const session = `
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
const { VirtualMachine } = await import('/project/dist/index.js');
const { APPEND, CPUS, WAITS } = process.env;
const disks = [{ path: '/images/debian-bare.img' }];
let vm = await VirtualMachine.start({ disks, cpus: Number(CPUS), memory: '384M', boot: { append: APPEND } });
let output = '';
const warnings = [];
const listen = () => {
  vm.on('warning', ({ message }) => warnings.push(message));
  vm.console.on('data', (chunk) => (output += chunk.toString('latin1')));
};
listen();
const beats = () => Number([...output.matchAll(/beat (\\d+) /g)].at(-1)?.[1] ?? -1);
const until = async (beat) => {
  while (beats() < beat) {
    if (vm.state === 'stopped') throw new Error('it has ended: ' + output.slice(-2000));
    await delay(20);
  }
};
await until(3);
let last;
for (const [i, wait] of JSON.parse(WAITS).entries()) {
  await delay(wait);
  await vm.pause();
  const directory = '/root/snapshot' + i;
  const snapshot = await vm.snapshot(directory, { disks: 'reference', ...(i % 3 > 0 && { diffFrom: last }) });
  await vm.kill();
  if (i % 3 === 0) for (let old = 0; old < i; old++) rmSync('/root/snapshot' + old, { recursive: true, force: true });
  last = snapshot;
  const seen = beats();
  vm = await VirtualMachine.restore(snapshot, i % 2 === 0 ? {} : { clock: 'keep' });
  listen();
  await until(seen + 3);
}
vm.console.write('stop\\n');
const { reason } = await vm.exited;
console.log(JSON.stringify({ reason, output, warnings }));
`;

test.each([1, 2])(`a guest with %d vCPUs goes on from ${times} snapshots and misses nothing`, async (cpus) => {
  const draw = drawFrom(testSeed);
  console.log(`snapshots: TSVMM_TEST_SEED=${testSeed}`);
  const program = join(folder, `life${cpus}.pl`);
  writeFileSync(program, life);
  await using lab = await openLab({ copy: [{ from: program, to: '/root/' }] });
  const put = `debugfs -w -R "write /root/life${cpus}.pl root/life.pl" /images/debian-bare.img`;
  expect(await lab.exec(['sh', '-ec', put])).toMatchObject({ exitCode: 0 });
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout * (full ? 2 : 1),
    env: {
      APPEND: `quiet watchdog_thresh=60 init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`,
      CPUS: String(cpus),
      WAITS: JSON.stringify(Array.from({ length: times }, () => draw(3000))),
    },
  });
  expect({ exitCode, stderr, stdout: stdout.slice(-3000) }).toMatchObject({ exitCode: 0, stderr: '' });
  const { reason, output, warnings } = JSON.parse(stdout) as { reason: string; output: string; warnings: string[] };
  expect({ reason, warnings, output: output.slice(-2000) }).toMatchObject({ reason: 'power-off', warnings: [] });
  expect(output).not.toContain('FAILED');
  expect(output).not.toContain('COMPLAINED');
  expect(output).toMatch(/RECORDS \d+/);
  const beats = [...output.matchAll(/beat (\d+) /g)].map(([, beat]) => Number(beat));
  expect(beats).toEqual(beats.map((_, i) => i)); // none is lost, and none is there twice
});
