/** The pictures of a boot timeline, as SVG without scripts: bars over a time axis, and exits a second below. Pure. */
import { type Bar, type ExitSample, exitTotals, type Timeline } from './timeline.js';

const width = 960;
const rowHeight = 26;
const barHeight = 18;
const axisHeight = 26;
const chartHeight = 120;
/** Of the page's 12 px font. */
const characterWidth = 6.7;
/** Kinds of exits with a colour of their own; the rest is one. */
const kinds = 5;

export const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`).replace(/(?![\t\n])\p{Cc}/gu, '\ufffd');

export function duration(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`;
}

/** Bars in rows, so that neither they nor their names overlap. */
export function barsPicture(bars: readonly Bar[], fromMs: number, toMs: number, label: string, below = ''): string {
  const x = (ms: number): number => ((ms - fromMs) / Math.max(toMs - fromMs, 1e-3)) * width;
  const rowEnds: number[] = [];
  let drawn = '';
  for (const bar of [...bars].sort((a, b) => a.startMs - b.startMs)) {
    const left = x(bar.startMs);
    const right = Math.max(x(bar.endMs), left + 2);
    const took = bar.endMs - bar.startMs;
    const text = took > 0 ? `${bar.name} ${duration(took)}` : bar.name;
    const textWidth = text.length * characterWidth + 10;
    const inside = right - left >= textWidth;
    const before = !inside && right + textWidth > width && left > textWidth;
    const begin = before ? left - textWidth : left;
    const end = inside || before ? right : right + textWidth;
    let row = rowEnds.findIndex((used) => used <= begin);
    if (row < 0) row = rowEnds.length;
    rowEnds[row] = end + 4;
    const y = row * rowHeight;
    const textX = inside ? left + 5 : before ? left - 5 : right + 5;
    const guest = bar.guestMs === undefined ? '' : `, ${duration(bar.guestMs)} by the guest's clock`;
    const title = `${bar.name}: from ${duration(bar.startMs)} to ${duration(bar.endMs)}${guest}`;
    drawn +=
      `<g><title>${escaped(title)}</title>` +
      `<rect class="${bar.guest ? 'guest' : 'host'}" x="${n(left)}" y="${y}" width="${n(right - left)}" height="${barHeight}" rx="2"/>` +
      `<text x="${n(textX)}" y="${y + 13}"${before ? ' text-anchor="end"' : ''}${inside ? ' class="on"' : ''}>${escaped(text)}</text></g>`;
  }
  const rows = Math.max(rowEnds.length, 1) * rowHeight;
  const height = rows + (below === '' ? 0 : chartHeight + 14) + axisHeight;
  const chart = below === '' ? '' : `<g transform="translate(0 ${rows + 10})">${below}</g>`;
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(label)}">${grid(fromMs, toMs, x, height - axisHeight)}${drawn}${chart}</svg>`;
}

/** Vertical lines at round times. */
function grid(fromMs: number, toMs: number, x: (ms: number) => number, bottom: number): string {
  const raw = Math.max(toMs - fromMs, 1e-3) / 8;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw)! * power;
  let lines = '';
  for (let i = Math.ceil(fromMs / step); i * step <= toMs; i++) {
    const at = n(x(i * step));
    const anchor = x(i * step) > width - 30 ? 'end' : i * step === fromMs ? 'start' : 'middle';
    lines += `<line class="grid" x1="${at}" x2="${at}" y1="0" y2="${bottom + 4}"/><text class="tick" x="${at}" y="${bottom + 18}" text-anchor="${anchor}">${tick(i * step, step)}</text>`;
  }
  return lines;
}

function tick(ms: number, step: number): string {
  if (ms === 0) return '0';
  if (step >= 100) return `${n(ms / 1000)} s`;
  return `${n(ms)} ms`;
}

/** The kinds that have a colour, in the order of their colours; `other` behind them when there are more. */
export function shownKinds(timeline: Timeline): string[] {
  const all = exitTotals(timeline).map(([kind]) => kind);
  return all.length > kinds ? [...all.slice(0, kinds), 'other'] : all;
}

/** Exits a second by kind, one upon the other, between the samples. */
export function exitsChart(timeline: Timeline, toMs: number): string {
  const shown = shownKinds(timeline);
  const { samples } = timeline;
  if (samples.length < 2) return '';
  const steps = samples.slice(1).map((sample, i) => rates(samples[i]!, sample, shown));
  const most = Math.max(1, ...steps.map((values) => values.reduce((sum, value) => sum + value, 0)));
  const x = (ms: number): string => n((ms / Math.max(toMs, 1e-3)) * width);
  const base = steps.map(() => 0);
  let areas = '';
  shown.forEach((kind, k) => {
    const upper: string[] = [];
    const lower: string[] = [];
    steps.forEach((values, i) => {
      const from = x(samples[i]!.atMs);
      const to = x(samples[i + 1]!.atMs);
      const bottom = n(chartHeight * (1 - base[i]! / most));
      base[i]! += values[k]!;
      const top = n(chartHeight * (1 - base[i]! / most));
      upper.push(`${from} ${top}`, `${to} ${top}`);
      lower.unshift(`${to} ${bottom}`, `${from} ${bottom}`);
    });
    areas += `<polygon class="k${k}" points="${[...upper, ...lower].join(' ')}"><title>${escaped(kind)}</title></polygon>`;
  });
  return `<rect class="chart" x="0" y="0" width="${width}" height="${chartHeight}"/>${areas}<text class="tick" x="4" y="12">up to ${Math.round(most).toLocaleString('en')} exits a second</text>`;
}

function rates(before: ExitSample, after: ExitSample, shown: readonly string[]): number[] {
  const seconds = Math.max(after.atMs - before.atMs, 1) / 1000;
  const change = (kind: string): number => Math.max(0, (after.exits[kind] ?? 0) - (before.exits[kind] ?? 0)) / seconds;
  const rest = Object.keys(after.exits).filter((kind) => !shown.includes(kind));
  return shown.map((kind) =>
    kind === 'other' && !(kind in after.exits) ? rest.reduce((sum, each) => sum + change(each), 0) : change(kind),
  );
}

/** A number for SVG. */
const n = (value: number): string => String(Math.round(value * 100) / 100);
