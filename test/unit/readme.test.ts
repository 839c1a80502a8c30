/** The README's example of the API, run as it stands there: on a guest that shows its prompt as getty does, without a line end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';
import { GuestConsole } from '../../src/machine/console.js';

const readme = readFileSync(join(packageRoot(), 'README.md'), 'utf8');
const section = readme.split(/^## /m).find((text) => text.startsWith('In a program'))!;
const example = /^```ts\n(.*?)^```$/ms.exec(section)![1]!;

/** What the example uses of a machine whose console says `Debian ...`, asks for a login, and then for a password. */
class ScriptedMachine {
  readonly console = new GuestConsole({ buffer: 64 * 1024, whenUnread: 'drop-oldest' });
  readonly memory = { read: (_address: number, length: number): Buffer => Buffer.alloc(length) };
  readonly name: string;
  typed = '';

  constructor(name: string) {
    this.name = name;
    this.console.attach({
      input: (bytes) => {
        this.typed += Buffer.from(bytes).toString();
        setImmediate(() => this.#says(`${this.typed.trim()}\r\nPassword: `));
        return bytes.length;
      },
      resume: () => {},
      resize: () => {},
    });
    setImmediate(() => this.#says('\r\nDebian GNU/Linux 12 debian ttyS0\r\n\r\ndebian login: '));
  }

  #says(text: string): void {
    this.console.deliver(Buffer.from(text));
  }

  on(): this {
    return this;
  }

  async stop(): Promise<object> {
    this.console.finish();
    return { reason: 'stopped', uptimeMs: 1, consoleTail: this.console.tail };
  }
}

it('comes to its end', async () => {
  const machines: ScriptedMachine[] = [];
  const start = async ({ name }: { name: string }): Promise<ScriptedMachine> => {
    machines.push(new ScriptedMachine(name));
    return machines[0]!;
  };
  const printed: unknown[] = [];
  const names: Record<string, unknown> = {
    VirtualMachine: { start },
    prewarm: async () => ({ async [Symbol.asyncDispose]() {} }),
    console: { ...console, log: (...words: unknown[]) => printed.push(...words) },
  };
  const { outputText } = ts.transpileModule(example.replace(/^import .*$/m, ''), {
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
  });
  const AsyncFunction = (async () => {}).constructor as new (
    ...words: string[]
  ) => (...values: unknown[]) => Promise<void>;
  await new AsyncFunction(...Object.keys(names), outputText)(...Object.values(names));
  expect(machines[0]?.typed).toBe('root\n');
  expect(printed).toContain('build-1: Debian GNU/Linux 12 debian ttyS0');
}, 10_000);
