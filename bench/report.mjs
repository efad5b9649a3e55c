// From the driver's lines to figures, and from the figures of interleaved rounds to a table. Only ratios of one round are
// ever compared.

/** Above this the driver itself is the limit, and the step says nothing about the server. */
export const driverShareMax = 0.9;

/** @param {any[]} lines of one run of the driver */
export function figuresOf(lines) {
  const [before, gathered, after] = ['before', 'gathered', 'after'].map((kind) => lines.find((line) => line.kind === kind));
  const steps = lines.filter((line) => line.kind === 'step').map((line) => ({
    ...line,
    offered: line.bursts_per_second * line.burst,
    usPerDelivery: line.deliveries > 0 ? line.server_cpu_us / line.deliveries : NaN,
    usPerMessage: line.messages > 0 ? line.server_cpu_us / line.messages : NaN,
    deliveriesPerSecond: line.deliveries / line.seconds,
    perReceive: line.receives > 0 ? line.deliveries / line.receives : NaN,
    faults: line.lost + line.repeated + line.reordered + line.differing + line.malformed,
    void: line.driver_cpu_share > driverShareMax,
  }));
  return { before, gathered, after, steps };
}

/** @param {number[]} values */
export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return NaN;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const digits = (value) => {
  if (!Number.isFinite(value)) return '–';
  if (value !== 0 && Math.abs(value) < 1) return value.toPrecision(2);
  return Math.abs(value) < 10 ? value.toFixed(2) : Math.round(value).toLocaleString('en-US');
};
export const withSpread = (values) => {
  const known = values.filter(Number.isFinite);
  if (known.length === 0) return '–';
  if (known.length === 1) return digits(known[0]);
  return `${digits(median(known))} (${digits(Math.min(...known))}–${digits(Math.max(...known))})`;
};
export const ms = (values) => digits(median(values) / 1000);
export const percent = (values) => `${Math.round(100 * median(values))} %`;

export function tableOf(heads, rows) {
  return [`| ${heads.join(' | ')} |`, `|${heads.map(() => '---').join('|')}|`, ...rows.map((row) => `| ${row.join(' | ')} |`)]
    .join('\n');
}

/**
 * @param {import('./run.mjs').Workload} workload
 * @param {Record<string, ReturnType<typeof figuresOf>>[]} rounds
 */
export function report(workload, rounds) {
  const names = Object.keys(rounds[0]).sort((a, b) => (a === 'bare') - (b === 'bare') || (a < b ? 1 : -1));
  const faults = rounds.flatMap((round) => Object.values(round)).flatMap((figures) => figures.steps)
    .reduce((sum, step) => sum + step.faults, 0);
  const parts = [workload.title];
  if (workload.rates.some((rate) => rate > 0)) parts.push(busy(workload, rounds, names));
  parts.push(memory(workload, rounds, names));
  return { table: parts.filter(Boolean).join('\n\n'), faults };
}

function busy(workload, rounds, names) {
  const rows = [];
  workload.rates.forEach((rate, at) => {
    for (const name of names) {
      // A ramp ends where somebody does not keep up, which need not be at the same step in every round.
      const there = rounds.filter((round) => round[name].steps[at]);
      if (there.length === 0) continue;
      const steps = there.map((round) => round[name].steps[at]);
      const of = (key) => steps.map((step) => step[key]);
      // From the same round only: theirs over ours.
      const ratio = (other, key) => there.map((round) =>
        (round[other]?.steps[at] ? round[other].steps[at][key] / round[name].steps[at][key] : NaN));
      const saturated = steps.filter((step) => step.seconds > step.offered_seconds * 1.25).length;
      const voids = steps.filter((step) => step.void).length;
      rows.push([
        digits(rate * workload.burst) + (saturated ? ' (saturated)' : ''), name, withSpread(of('usPerDelivery')),
        workload.publishers ? withSpread(of('usPerMessage')) : '–',
        name === 'bare' ? '1' : withSpread(ratio('bare', 'usPerDelivery')),
        name === 'tertulia' ? withSpread(ratio('against', 'usPerDelivery')) : '–',
        digits(median(of('deliveriesPerSecond'))), digits(median(of('perReceive'))),
        percent(of('server_cpu_share')), percent(of('driver_cpu_share')) + (voids ? ` (${voids} void)` : ''),
        ms(of('each_p50_us')), ms(of('each_p99_us')), ms(of('each_max_us')), ms(of('last_p99_us')),
        name === 'bare' ? '1' : withSpread(ratio('bare', 'last_p99_us').map((value) => 1 / value)),
        Number.isFinite(of('tertulia_commits_total')[0])
          ? digits(median(steps.map((step) => step.messages / step.tertulia_commits_total))) : '–',
        Number.isFinite(of('tertulia_flushes_total')[0])
          ? digits(median(steps.map((step) => step.deliveries / step.tertulia_flushes_total))) : '–',
        steps.reduce((sum, step) => sum + step.faults, 0),
      ]);
    }
  });
  const heads = ['messages/s', '', 'CPU-µs a delivery', 'CPU-µs a message', 'eff', 'against ÷ this', 'deliveries/s', 'deliveries a receive',
    'server', 'driver', 'p50 ms', 'p99 ms', 'max ms', 'last p99 ms', 'last p99 ÷ bare', 'messages a commit', 'deliveries a send', 'faults'];
  const used = heads.map((_, column) => rows.some((row) => row[column] !== '–'));
  return tableOf(heads.filter((_, i) => used[i]), rows.map((row) => row.filter((_, i) => used[i])));
}

function memory(workload, rounds, names) {
  const rows = [];
  for (const name of names) {
    const all = rounds.map((round) => round[name]);
    const each = (key, line) => all.map((figures) => (figures[line][key] - figures.before[key]) / workload.members);
    const silent = all.map((figures) => figures.steps.find((step) => step.bursts_per_second === 0));
    rows.push([
      name, withSpread(each('tertulia_allocated_bytes', 'gathered')), withSpread(each('tertulia_allocated_bytes', 'after')),
      withSpread(each('resident_bytes', 'after')),
      withSpread(silent.map((step) => (step ? step.server_cpu_us / step.wall_seconds / workload.members : NaN))),
    ]);
  }
  return tableOf(['', 'allocated B a member, joined', 'at the end', 'resident B a member', 'CPU-µs/s a silent member'], rows);
}
