/** `tsvmm run --cpu help`: CPU models and features for people. Main thread. */
import type { CpuList } from '../machine/cpu-list.js';

const width = 78;
const indent = '  ';

export function renderCpus({ models, here, elsewhere }: CpuList): string {
  const lines = ['Models:', `${indent}host         all that KVM supports on this host (default)`];
  for (const { name, missing } of models) {
    lines.push(
      `${indent}${name.padEnd(12)} ${missing.length === 0 ? 'complete' : `this host lacks ${missing.join(' ')}`}`,
    );
  }
  lines.push('', 'Features that this host can give a guest (+NAME, -NAME):', ...wrap(here));
  lines.push('', 'Features that it cannot give:', ...wrap(elsewhere));
  return `${lines.join('\n')}\n`;
}

function wrap(words: readonly string[]): string[] {
  const lines: string[] = [];
  for (const word of words) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(indent + word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
