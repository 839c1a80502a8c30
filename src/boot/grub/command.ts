/**
 * What a GRUB command is to the interpreter. Main thread.
 */
import type { Interpreter } from './interpreter.js';
import type { CommandNode } from './syntax.js';

/** What a command returns, as `$?` and `if` see it. GRUB has more numbers for failure; scripts ask only for 0. */
export const status = { ok: 0, failed: 1 } as const;

/** `node` is for commands that take a block. */
export type Command = (shell: Interpreter, args: readonly string[], node: CommandNode) => number | Promise<number>;

export const statusOf = (success: boolean): number => (success ? status.ok : status.failed);
