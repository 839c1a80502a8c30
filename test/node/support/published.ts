/** tsvmm packed, published to a registry on loopback and installed from there, without any script, as users do it. */
import { type ChildProcess, execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { npmToolsFolder } from '../../../scripts/npm-tools.js';
import { packageRoot } from '../../../src/host/addon.js';
import { Registry } from '../../support/registry.js';

const root = packageRoot();

export class Published {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tsvmm-published-'));
  readonly registry: Registry;
  /** Package managers without this user's settings, caches and home. */
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(registry: Registry) {
    this.registry = registry;
    const settings = {
      registry: registry.url,
      userconfig: this.file('npmrc'),
      cache: this.file('cache'),
      update_notifier: 'false',
      ignore_scripts: 'true',
      audit: 'false',
      fund: 'false',
    };
    this.#environment = {
      ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm|pnpm|xdg)_/i.test(name))),
      ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`npm_config_${name}`, value])),
      HOME: this.#folder,
      CI: 'true', // asks nothing
    };
  }

  static async publish(): Promise<Published> {
    const published = new Published(await Registry.open(join(root, 'node_modules')));
    // What `npm publish` runs first, but for building: that was done before the tests.
    execFileSync(process.execPath, ['scripts/prepack.js', '--built'], { cwd: root });
    const [{ filename }] = JSON.parse(
      await published.#run('npm', root, 'pack', '--json', '--pack-destination', published.#folder),
    ) as [{ filename: string }];
    const token = `--${published.registry.url.replace(/^http:/, '')}:_authToken=loopback`;
    await published.#run('npm', published.#folder, 'publish', published.file(filename), token);
    return published;
  }

  /** A path beside the installations, which goes with them. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** An empty project with tsvmm installed. @returns its folder */
  npmInstall(): Promise<string> {
    return this.#install('npm', 'npm', 'install', 'tsvmm');
  }

  pnpmInstall(): Promise<string> {
    const pnpm = join(npmToolsFolder('consumers'), 'pnpm/bin/pnpm.cjs');
    return this.#install('pnpm', process.execPath, pnpm, 'add', 'tsvmm');
  }

  async close(): Promise<void> {
    await this.registry.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #install(name: string, command: string, ...args: string[]): Promise<string> {
    const project = this.file(name);
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
    await this.#run(command, project, ...args);
    return project;
  }

  /** Not by waiting for it here: the registry lives in this process. @returns what it wrote to stdout */
  #run(command: string, cwd: string, ...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child: ChildProcess = execFile(command, args, { cwd, env: this.#environment }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${command} ${args.join(' ')} failed: ${error.message}\n${stdout}${stderr}`));
      });
      child.stdin?.end();
    });
  }
}

/** What npm wrote down of an installation, by the paths of its packages. */
export function lockedPackages(project: string): [string, { hasInstallScript?: boolean; resolved?: string }][] {
  const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { hasInstallScript?: boolean; resolved?: string }>;
  };
  return Object.entries(lock.packages).filter(([path]) => path !== '');
}
