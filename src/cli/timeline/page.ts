/**
 * A boot timeline as one HTML page: no scripts, nothing from the network, all that is not ours escaped. Pure.
 *
 * Names of guests and the words of a panic come from outside; a policy in the page keeps even a mistake here harmless.
 */
import { barsPicture, duration, escaped, exitsChart, shownKinds } from './picture.js';
import { enteredMs, exitTotals, guestBars, hostBars, type Timeline } from './timeline.js';

/** What a file that may be replaced begins with. */
export const timelineMark = '<!doctype html><!-- tsvmm boot timeline -->';

const style = `
:root{color-scheme:light dark;--back:#fff;--text:#1c2430;--soft:#5b6675;--line:#dfe4ea;--panel:#f5f7f9;--host:#2f6fb7;--guest:#2f7d4f;--on:#fff;
--k0:#3f7fc4;--k1:#d98a2b;--k2:#4f9d69;--k3:#b3558f;--k4:#8a7bd1;--k5:#8b95a1}
@media (prefers-color-scheme:dark){:root{--back:#14181d;--text:#e4e9ef;--soft:#9aa6b4;--line:#2c343d;--panel:#1b2127;--host:#3b7cc6;--guest:#358a58}}
body{margin:0 auto;padding:24px;max-width:1000px;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:22px;margin:0 0 4px}h2{font-size:16px;margin:32px 0 8px}p{margin:4px 0}
.soft,td.soft{color:var(--soft)}code{font:13px ui-monospace,monospace}
.facts{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}.facts div{background:var(--panel);border:1px solid var(--line);border-radius:6px;padding:8px 14px}
.facts b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--text)}svg text.on{fill:var(--on)}svg text.tick{fill:var(--soft);font-size:11px}
.grid{stroke:var(--line)}.host{fill:var(--host)}.guest{fill:var(--guest)}.chart{fill:var(--panel)}
.k0{fill:var(--k0);background:var(--k0)}.k1{fill:var(--k1);background:var(--k1)}.k2{fill:var(--k2);background:var(--k2)}.k3{fill:var(--k3);background:var(--k3)}.k4{fill:var(--k4);background:var(--k4)}.k5{fill:var(--k5);background:var(--k5)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:4px 0}.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px;vertical-align:-1px}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:4px 12px 4px 0;border-bottom:1px solid var(--line)}th{font-weight:600}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
`;

const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export function timelinePage(timeline: Timeline): string {
  const { name, command, version, startedAt, outcome, endMs } = timeline;
  const entered = enteredMs(timeline);
  const host = hostBars(timeline);
  const guest = guestBars(timeline);
  const hostEnd = Math.max(entered ?? 0, ...host.map((bar) => bar.endMs), 1);
  const totals = exitTotals(timeline);
  const count = totals.reduce((sum, [, exits]) => sum + exits, 0);
  const facts: [string, string][] = [
    [duration(endMs), `to ${outcome}`],
    ...(entered === undefined
      ? []
      : ([
          [duration(entered), 'to the first guest instruction'],
          [duration(endMs - entered), 'in the guest'],
        ] as [string, string][])),
    [count.toLocaleString('en'), 'exits'],
  ];
  const start = barsPicture(host, 0, hostEnd, 'What tsvmm did until the guest ran');
  const boot =
    guest.length === 0
      ? ''
      : `<h2>From process start to ${escaped(outcome)}</h2>${barsPicture(
          [{ name: 'tsvmm', startMs: 0, endMs: entered!, guest: false }, ...guest],
          0,
          endMs,
          'The boot of the guest and its exits',
          exitsChart(timeline, endMs),
        )}${legend(timeline)}`;
  return `${timelineMark}
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width"><title>Boot of ${escaped(name)}</title><style>${style}</style></head>
<body><h1>Boot of ${escaped(name)}</h1>
<p><code>${escaped(command)}</code></p><p class="soft">${escaped(startedAt)}, tsvmm ${escaped(version)}</p>
<div class="facts">${facts.map(([value, what]) => `<div><b>${escaped(value)}</b>${escaped(what)}</div>`).join('')}</div>
${boot}
<h2>From process start to the first guest instruction</h2>${start}
<h2>Phases</h2>${phaseTable(timeline)}
<h2>Exits</h2>${exitTable(totals, count)}
<script type="application/json" id="timeline">${JSON.stringify(timeline).replaceAll('<', String.raw`\u003c`)}</script>
</body></html>
`;
}

const legend = (timeline: Timeline): string =>
  timeline.samples.length < 2
    ? ''
    : `<div class="legend">${shownKinds(timeline)
        .map((kind, i) => `<span><i class="k${i}"></i>${escaped(kind)}</span>`)
        .join('')}</div>`;

function phaseTable({ phases }: Timeline): string {
  const rows = [...phases].sort((a, b) => a.startMs - b.startMs);
  return table(
    ['phase', 'from', 'took', "guest's clock"],
    rows.map(({ name, startMs, durationMs, guestMs }) => [
      name,
      duration(startMs),
      durationMs === 0 ? '' : duration(durationMs),
      guestMs === undefined ? '' : duration(guestMs),
    ]),
  );
}

function exitTable(totals: readonly (readonly [string, number])[], count: number): string {
  if (totals.length === 0) return '<p class="soft">The guest did not run.</p>';
  return table(
    ['kind', 'count', 'share'],
    totals.map(([kind, exits]) => [kind, exits.toLocaleString('en'), `${((100 * exits) / count).toFixed(1)} %`]),
  );
}

/** The first column is text, the others numbers. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]): string =>
    row.map((cell, i) => `<${tag}${i > 0 ? ' class="n"' : ''}>${escaped(cell)}</${tag}>`).join('');
  return `<table><thead><tr>${cells('th', heads)}</tr></thead><tbody>${rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('')}</tbody></table>`;
}
