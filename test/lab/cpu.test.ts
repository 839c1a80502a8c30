/**
 * What a stock Debian makes of sockets, cores and threads, of a model that masks features, and of nested virtualization,
 * on the AMD processor of the lab.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bootTimeout, patient } from './support/disks.js';
import { full, guestScript, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-cpu-'));
const program = join(folder, 'masked-features');
afterAll(() => rmSync(folder, { recursive: true }));

const disk = '/images/debian-bare.img';
/** The guest's answers are lines `name: ...` of a file. */
const questions = `
mount -o remount,rw /
exec > /root/answers
echo "places: $(lscpu -p=CPU,SOCKET,CORE | grep -v '^#' | tr '\\n' ' ')"
echo "shape: $(lscpu | grep -E '^(CPU\\(s\\)|Socket|Core|Thread)' | tr -s ' ' | tr '\\n' ',')"
echo "caches: $(cd /sys/devices/system/cpu/cpu0/cache; for i in index*; do echo -n "$(cat $i/level)$(cat $i/type | cut -c1)=$(cat $i/shared_cpu_list) "; done)"
/root/masked-features
echo "flags: $(grep -m1 ^flags /proc/cpuinfo)"
modprobe kvm_amd; echo "kvm: $(ls /dev/kvm)"
echo "errors: $(dmesg | grep -ciE 'soft lockup|Call Trace|firmware bug|mismatch|broken')"
sync
`;

const answers = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(/^(\w+): (.*)$/gm)].map(([, name, value]) => [name!, value!.trim()]));

interface Leaf {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}
const leaf = (said: Record<string, string>, name: string): Leaf => {
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = said[name]!.split(' ').map(Number);
  return { eax, ebx, ecx, edx };
};
const bit = (register: number, index: number): number => (register >>> index) & 1;

if (!full) console.log('skipped: topology, masks and nested virtualization in a Debian: npm run test:full');
describe.skipIf(!full)('CPUs', () => {
  beforeAll(() => {
    const source = new URL('programs/masked-features.c', import.meta.url).pathname;
    execFileSync('gcc', ['-static', '-O1', '-o', program, source]);
  });

  test('lscpu shows the topology, what a model masks is gone, and a guest with svm has a /dev/kvm of its own', async () => {
    await using lab = await openLab({ copy: [{ from: program, to: '/root/' }] });
    // On the lab's processor itself everything that is masked below runs.
    const outside = await lab.exec(['/root/masked-features']);
    expect(answers(outside.stdout)).toMatchObject({ popcnt: 'runs', xgetbv: 'runs', avx: 'runs', avx2: 'runs' });
    expect(answers(outside.stdout)).toMatchObject({ fma: 'runs', fsgsbase: 'runs' });

    const put = `write /root/masked-features /root/masked-features\nset_inode_field /root/masked-features mode 0100755\n`;
    expect(await lab.exec(['debugfs', '-w', disk], { stdin: put })).toMatchObject({ exitCode: 0 });
    const shape = ['-c', 'sockets=2,cores=1,threads=2', '--cpu', 'x86-64-v2,+svm'];
    const words = `${patient} init=/usr/local/sbin/tsvmm-marker ${guestScript(questions)}`;
    const run = await lab.exec(['node', 'bin/tsvmm.js', 'run', disk, ...shape, '--append', words], {
      timeout: bootTimeout,
    });
    expect(run).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('TSVMM-EXIT 0') });
    const { stdout } = await lab.exec(['debugfs', '-R', 'cat /root/answers', disk]);
    const said = answers(stdout);

    expect(said['shape']).toBe('CPU(s): 4,Thread(s) per core: 2,Core(s) per socket: 1,Socket(s): 2,');
    expect(said['places']).toBe('0,0,0 1,0,0 2,1,1 3,1,1');
    // Threads of a core share its caches. Of the L3 cache Linux believes of a Zen 1, which the lab has, that 8 APIC ids share it.
    expect(said['caches']).toMatch(/^1D=0-1 1I=0-1 2U=0-1( 3U=|$)/);

    const basic = leaf(said, '1');
    const structured = leaf(said, '7');
    const masked = { fma: bit(basic.ecx, 12), xsave: bit(basic.ecx, 26), osxsave: bit(basic.ecx, 27) };
    expect(masked).toEqual({ fma: 0, xsave: 0, osxsave: 0 });
    const more = { avx: bit(basic.ecx, 28), f16c: bit(basic.ecx, 29), fsgsbase: bit(structured.ebx, 0) };
    expect(more).toEqual({ avx: 0, f16c: 0, fsgsbase: 0 });
    expect({ avx2: bit(structured.ebx, 5), sha: bit(structured.ebx, 29) }).toEqual({ avx2: 0, sha: 0 });
    // Into ebx KVM writes the size for what XCR0 enables, which is x87 at least.
    expect(leaf(said, 'd')).toMatchObject({ eax: 0, ecx: 0, edx: 0 });
    expect(bit(leaf(said, '80000001').ecx, 2)).toBe(1);
    expect(said['flags']!.split(' ')).toEqual(expect.arrayContaining(['popcnt', 'sse4_2', 'svm']));
    expect(said['flags']).not.toMatch(/\b(avx2?|fma|f16c|xsave|sha_ni|fsgsbase)\b/);
    // Not only hidden: SIGILL (4) for each that a bit of CR4 or XCR0 switches on.
    expect(said).toMatchObject({ popcnt: 'runs', xgetbv: 'signal 4', avx: 'signal 4', avx2: 'signal 4' });
    expect(said).toMatchObject({ fma: 'signal 4', fsgsbase: 'signal 4' });
    expect(said).toMatchObject({ kvm: '/dev/kvm', errors: '0' });
  });
});
