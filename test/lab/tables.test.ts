/**
 * Partition tables that the guest's kernel reads only with our help: a GPT in sectors of 4096 bytes, which the disk must
 * announce as its block size, and one of which the backup alone is left, which Linux uses when `gpt` is on its command line.
 */
import { expect, test } from 'vitest';
import { bootTimeout, partitionStart, patient } from './support/disks.js';
import { guestScript, type Lab, openLab } from './support/lab.js';

const image = '/images/debian-gpt.img';

async function succeed(lab: Lab, script: string): Promise<string> {
  const result = await lab.exec(['sh', '-euc', script]);
  expect({ script, ...result }).toMatchObject({ exitCode: 0 });
  return result.stdout;
}

/** What Linux in the guest says of its disk. */
const questions = `
echo "BLOCK $(cat /sys/block/vda/queue/logical_block_size)"
echo "ROOT $(readlink /sys/dev/block/$(mountpoint -d /) | sed 's|.*/||')"
echo "WORDS $(cat /proc/cmdline)"`;

/** Boots the disk and returns what its console showed. */
async function answersOf(lab: Lab, disk: string): Promise<string> {
  const words = `${patient} init=/usr/local/sbin/tsvmm-marker ${guestScript(questions)}`;
  const { stdout, stderr, exitCode } = await lab.exec(['node', 'bin/tsvmm.js', 'run', disk, '--append', words], {
    timeout: bootTimeout,
  });
  expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({ exitCode: 0 });
  expect(stdout).toContain('TSVMM-EXIT 0');
  return stdout;
}

const inspected = async (lab: Lab, disk: string) =>
  JSON.parse(await succeed(lab, `node bin/tsvmm.js image inspect ${disk} --json`)) as {
    sectorSize: number;
    problems: string[];
  };

test('a GPT in sectors of 4096 bytes, made by sfdisk on a disk that has them', async () => {
  await using lab = await openLab();
  const disk = '/images/sectors.img';
  const start = await partitionStart(lab, image, 1);
  await succeed(
    lab,
    `truncate -s 1026M ${disk}
    loop=$(losetup --find --show --sector-size 4096 ${disk})
    echo 'start=1MiB' | sfdisk --quiet --label gpt $loop
    losetup --detach $loop
    size=$(( $(stat -c %s ${image}) - ${start} ))
    dd if=${image} of=${disk} bs=1M iflag=skip_bytes,count_bytes skip=${start} count=$size seek=1 conv=sparse,notrunc status=none`,
  );
  expect(await inspected(lab, disk)).toMatchObject({ sectorSize: 4096, problems: [] });
  expect(await answersOf(lab, disk)).toMatch(/BLOCK 4096\s+ROOT vda1\s/);
});

test('a GPT of which the backup alone is left', async () => {
  await using lab = await openLab();
  await succeed(lab, `dd if=/dev/zero of=${image} bs=512 seek=1 count=1 conv=notrunc status=none`);
  const { sectorSize, problems } = await inspected(lab, image);
  expect(sectorSize).toBe(512);
  expect(problems.join()).toContain('backup');
  expect(await answersOf(lab, image)).toMatch(/BLOCK 512\s+ROOT vda1\s+WORDS .*\bgpt\b/);
});
