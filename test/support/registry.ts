/**
 * A package registry on loopback, for the tests: it takes what `npm publish` sends and serves it to `npm install`, with
 * the packages of this checkout's node_modules beside it. https://github.com/npm/registry/blob/main/docs/REGISTRY-API.md
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** What a registry says of one version. */
export interface Version {
  readonly name: string;
  readonly version: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly gypfile?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dist: { readonly integrity: string; readonly tarball: string };
}

interface Package {
  readonly document: object;
  readonly tarball: Buffer;
}

export class Registry {
  readonly url: string;
  readonly #packages = new Map<string, Package>();
  readonly #nodeModules: string;
  readonly #server;

  private constructor(server: ReturnType<typeof createServer>, nodeModules: string) {
    this.#server = server;
    this.#nodeModules = nodeModules;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    server.on('request', (request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
  }

  static async open(nodeModules: string): Promise<Registry> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Registry(server, nodeModules);
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** The newest version of a package that was published here. */
  latest(name: string): Version | undefined {
    const { document } = this.#packages.get(name) ?? {};
    const { versions, 'dist-tags': tags } = (document ?? {}) as {
      versions?: Record<string, Version>;
      'dist-tags'?: { latest: string };
    };
    return versions?.[tags?.latest ?? ''];
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '/', this.url).pathname.slice(1));
    if (request.method === 'PUT') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { _attachments: attachments, ...document } = JSON.parse(Buffer.concat(chunks).toString());
      const [attachment] = Object.values(attachments as Record<string, { data: string }>);
      this.#packages.set(path, { document, tarball: Buffer.from(attachment!.data, 'base64') });
      response.writeHead(201, { 'content-type': 'application/json' }).end('{}');
      return;
    }
    const [name = '', rest] = path.split('/-/');
    const found = this.#packages.get(name) ?? this.#local(name);
    if (found === undefined) response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
    else if (rest === undefined)
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found.document));
    else response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(found.tarball);
  }

  /** A package that is installed in the checkout, as if it had been published. */
  #local(name: string): Package | undefined {
    const folder = join(this.#nodeModules, name);
    if (!existsSync(join(folder, 'package.json'))) return undefined;
    const tar = ['-czf', '-', '--exclude=./node_modules', '--transform', 's,^\\.,package,', '-C', folder, '.'];
    const { stdout: tarball } = spawnSync('tar', tar, { maxBuffer: 64 << 20 });
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
    const dist = {
      tarball: `${this.url}${name}/-/package.tgz`,
      integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
    };
    const { version } = manifest;
    const document = { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
    const made = { document, tarball };
    this.#packages.set(name, made);
    return made;
  }
}
