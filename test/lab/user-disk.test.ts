/** A Debian disk behind a web server, read by the example of docs/user-disks.md, boots to its own programs. */
import { expect, test } from 'vitest';
import { httpDiskExample, imageServer } from '../support/http-disk.js';
import { bootTimeout, patient } from './support/disks.js';
import { guestScript, openLab } from './support/lab.js';

/** What the guest writes goes into memory; the server's file stays as it is. */
const session = `
const url = (code) => 'data:text/javascript;base64,' + Buffer.from(code).toString('base64');
const { serveImage } = await import(url(process.env.SERVER));
const { writeFileSync } = await import('node:fs');
writeFileSync('/project/example.mjs', process.env.EXAMPLE);
const { bootFrom } = await import('/project/example.mjs');
const { url: image, server, requests } = await serveImage('/images/debian-extlinux.img');
const vm = await bootFrom(image, process.env.APPEND);
let output = '';
const warnings = [];
vm.on('warning', ({ message }) => warnings.push(message));
vm.console.on('data', (chunk) => (output += chunk.toString('latin1')));
const { reason } = await vm.exited;
server.closeAllConnections();
server.close();
console.log(JSON.stringify({ reason, output, warnings, requests: requests.length }));
`;

const script = `
mount -o remount,rw / && echo kept > /root/proof && sync && echo 3 > /proc/sys/vm/drop_caches
echo "PROOF $(cat /root/proof)"`;

test('a boot by HTTP range requests', async () => {
  await using lab = await openLab();
  const append = `${patient} tsvmm.marker init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`;
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
    env: { SERVER: imageServer, EXAMPLE: httpDiskExample(), APPEND: append },
  });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const { reason, output, warnings, requests } = JSON.parse(stdout) as {
    reason: string;
    output: string;
    warnings: string[];
    requests: number;
  };
  expect({ reason, warnings, output: output.slice(-2000) }).toMatchObject({ reason: 'power-off', warnings: [] });
  expect(output).toContain('TSVMM-MARKER debian-extlinux');
  expect(output).toContain('PROOF kept');
  expect(requests).toBeGreaterThan(20);
});
