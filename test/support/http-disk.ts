/** The example of docs/user-disks.md as a program, and a web server that it can be tried with. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { packageRoot } from '../../src/host/addon.js';

/** JavaScript, an ES module. */
export function httpDiskExample(): string {
  const page = readFileSync(join(packageRoot(), 'docs/user-disks.md'), 'utf8');
  const [, code] = /^```ts\n((?:(?!```).)*?export async function httpDisk.*?)^```$/ms.exec(page)!;
  return ts.transpileModule(code!, {
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
  }).outputText;
}

/**
 * An ES module that serves one file by range requests: `serveImage(path)` answers `{ url, server, requests }`. It is text,
 * since it also runs where there is no TypeScript.
 */
export const imageServer = `
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';

export async function serveImage(path) {
  const requests = [];
  const server = createServer((request, response) => {
    const { size, mtimeMs } = statSync(path);
    const etag = '"' + size + '-' + mtimeMs + '"';
    const range = /^bytes=(\\d+)-(\\d+)$/.exec(request.headers.range ?? '');
    requests.push(request.headers.range ?? request.method);
    if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== etag) {
      response.writeHead(412).end();
    } else if (request.method === 'HEAD') {
      response.writeHead(200, { 'content-length': size, etag, 'accept-ranges': 'bytes' }).end();
    } else if (range === null) {
      response.writeHead(400).end();
    } else {
      const [start, end] = [Number(range[1]), Number(range[2])];
      const headers = { 'content-length': end - start + 1, 'content-range': 'bytes ' + start + '-' + end + '/' + size, etag };
      response.writeHead(206, headers);
      createReadStream(path, { start, end }).pipe(response);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: 'http://127.0.0.1:' + server.address().port + '/disk.img', server, requests };
}
`;
