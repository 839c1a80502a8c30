/** A folder for the sockets of machines that the tests around it alone use, and the programs that they start. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** What XDG_RUNTIME_DIR then is. Its path is short: that of a socket has few bytes. */
export function ownRuntimeDirectory(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-xdg-'));
  const before = process.env['XDG_RUNTIME_DIR'];
  process.env['XDG_RUNTIME_DIR'] = folder;
  afterAll(() => {
    if (before === undefined) delete process.env['XDG_RUNTIME_DIR'];
    else process.env['XDG_RUNTIME_DIR'] = before;
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
