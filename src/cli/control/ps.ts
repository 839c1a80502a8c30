/** `tsvmm ps`: the machines that run, as their sockets tell; what killed ones left is removed. Main thread. */
import { formatSize } from '../../machine/units.js';
import { ExitCode } from '../exit-codes.js';
import { jsonLine } from '../json-events.js';
import { Notices, table } from '../print.js';
import type { RunIo } from '../run.js';
import { MachineClient } from './client.js';
import { status } from './commands/status.js';
import { isGone } from './connect.js';
import { holderOf, removeIfStale } from './name-claim.js';
import { checkRuntimeDirectory, namesIn, type Place, placeOf, runtimeDirectory } from './runtime-directory.js';

/** Null is what one that does not answer does not tell. */
interface Row {
  readonly name: string;
  readonly pid: number | null;
  readonly state: string;
  readonly uptimeMs: number | null;
  readonly memory: number | null;
  readonly cpus: number | null;
}

export async function ps({ json }: { readonly json: boolean }, io: RunIo): Promise<number> {
  const notices = new Notices(io);
  const folder = runtimeDirectory();
  const names = checkRuntimeDirectory(folder) ? namesIn(folder) : [];
  const rows = await Promise.all(names.map((name) => rowOf(name, placeOf(folder, name), notices)));
  const machines = rows.filter((row) => row !== undefined);
  io.stdout.write(json ? jsonLine({ machines }) : render(machines));
  return ExitCode.ok;
}

/** Undefined of a name that is nobody's any more. */
async function rowOf(name: string, place: Place, notices: Notices): Promise<Row | undefined> {
  let client: MachineClient | undefined;
  try {
    client = await MachineClient.connect(place, name);
    return { name, pid: client.pid, ...(await client.request(status, {})) };
  } catch (error) {
    if (isStale(place, notices)) return undefined;
    notices.complain(isGone(error) ? `${name}: nobody listens to its socket` : (error as Error).message);
    return { name, pid: holderOf(place) ?? null, state: 'unknown', uptimeMs: null, memory: null, cpus: null };
  } finally {
    client?.close();
  }
}

/** What a killed process left has been removed. */
function isStale(place: Place, notices: Notices): boolean {
  try {
    return removeIfStale(place);
  } catch (error) {
    notices.complain((error as Error).message);
    return false;
  }
}

function render(machines: readonly Row[]): string {
  const cells = machines.map(({ name, pid, state, uptimeMs, memory, cpus }) => [
    name,
    String(pid ?? '-'),
    state,
    uptimeMs === null ? '-' : duration(uptimeMs),
    memory === null ? '-' : formatSize(memory),
    String(cpus ?? '-'),
  ]);
  return table([['NAME', 'PID', 'STATE', 'UPTIME', 'MEMORY', 'CPUS'], ...cells]);
}

const units: readonly (readonly [name: string, seconds: number])[] = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
];

/** The two largest units of a time: 2d 3h, 5m 12s, 7s. */
export function duration(ms: number): string {
  let left = Math.floor(ms / 1000);
  const parts: string[] = [];
  for (const [name, seconds] of units) {
    const count = Math.floor(left / seconds);
    left -= count * seconds;
    if (count > 0 || parts.length > 0 || name === 's') parts.push(`${count}${name}`);
  }
  return parts.slice(0, 2).join(' ');
}
