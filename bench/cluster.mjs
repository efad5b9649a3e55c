// What several nodes cost: PostgreSQL's processor time a row under two nodes, against pgbench with the same rows
// (`postgres`); and the nodes' own time a delivery over the bus, against one node with the local bus (`nodes`).
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { gaps, makeTable, pgbench, treeCpuUs } from './database_cost.mjs';
import { build, drive, pins } from './drive.mjs';
import { digits, figuresOf, median, ms, percent, tableOf, withSpread } from './report.mjs';
import { natsUrl, startNats } from '../tests/cluster/nats.mjs';
import { Postgres } from '../tests/cluster/postgres.mjs';
import { removeFolder, temporaryFolder } from '../tests/cluster/program.mjs';
import { Server } from '../tests/system/lib/server.mjs';

export const clusterNames = ['postgres', 'nodes'];
const tmpfs = 0x01021994;

/** Each is shown to two nodes. @type {Record<string, import('./run.mjs').Workload>} */
const appending = {
  hot: {
    title: 'one hot room', members: 8, rooms: 1, roomsEach: 1, publishers: 8, rates: [500, 4000, 20_000], burst: 1, textBytes: 200, settle: 2,
  },
  rooms: {
    title: '1,000 rooms, a member on each node', members: 2000, rooms: 1000, roomsEach: 1, publishers: 2000, rates: [500, 4000, 20_000],
    burst: 1, textBytes: 200, settle: 2,
  },
};

/** So many members on each node. */
const membersEach = 1000;
/** @type {Record<string, import('./run.mjs').Workload>} */
const fanOut = {
  single: {
    title: '20 messages/s, one at a time', members: membersEach, rooms: 1, roomsEach: 1, rates: [20], burst: 1, textBytes: 200, settle: 2,
  },
  bursts: {
    title: 'bursts of 64 every 250 ms', members: membersEach, rooms: 1, roomsEach: 1, rates: [4], burst: 64, textBytes: 200, settle: 2,
  },
};

/** PostgreSQL, NATS, and nodes on them. */
class Bench {
  constructor() {
    this.folder = temporaryFolder('bench');
    /** @type {import('../tests/cluster/nats.mjs').NatsServer[]} */ this.nats = [];
  }
  async start() {
    this.postgres = await Postgres.start({ folder: this.folder });
    this.nats = await startNats({ count: 1, folder: this.folder });
    return this;
  }
  async stop() {
    await Promise.all([this.postgres?.stop(), ...this.nats.map((server) => server.kill())]);
    removeFolder(this.folder);
  }

  /**
   * One run of the driver over new nodes and an empty database.
   * @param {import('./run.mjs').Workload} workload
   * @param {{nodesCount: number, bus: boolean, seconds: number, pinned?: boolean, told?: (line: any) => void}} options
   */
  async run(workload, { nodesCount, bus, seconds, pinned = false, told }) {
    const postgres = /** @type {Postgres} */ (this.postgres);
    const database = await postgres.database();
    const pin = pinned ? pins(1) : { server: [], driver: [] };
    const nodes = Array.from({ length: nodesCount }, (_, i) => new Server({
      binary: process.env.TERTULIA_BINARY ?? join(build, 'tertulia'), dataDir: join(this.folder, `node${i + 1}`), wrapper: pin.server,
      store: { url: postgres.url(database), read: () => Promise.reject(new Error('the tables are asked themselves')) },
      bus: bus ? natsUrl(this.nats) : undefined, args: ['--shards', '1', '--rate-limits', 'off', '--log-level', 'warn'],
    }));
    try {
      for (const node of nodes) await node.start();
      const of = (what) => nodes.map(what).join(',');
      const lines = await drive({
        port: of((node) => node.port), pid: of((node) => node.pid), metrics: of((node) => `127.0.0.1:${node.internalPort}`),
      }, workload, { seconds }, pin.driver, told);
      return { database, figures: figuresOf(lines) };
    } catch (error) {
      throw nodes.reduce((all, node) => node.explain(all), error);
    } finally {
      await Promise.all(nodes.map((node) => node.remove()));
    }
  }
}

/** Two nodes, then pgbench with what they made of it. @param {Bench} bench */
async function appendRound(bench, workload, seconds) {
  const postgres = /** @type {Postgres} */ (bench.postgres);
  /** @type {number[]} */ const cpuUs = [];
  const told = (line) => { if (line.kind === 'gathered' || line.kind === 'step') cpuUs.push(treeCpuUs(Number(postgres.pid))); };
  const { database, figures } = await bench.run(workload, { nodesCount: 2, bus: true, seconds, told });
  const logs = await gaps(postgres, database);
  await makeTable(postgres, database);
  const steps = [];
  for (const [at, step] of figures.steps.entries()) {
    const commits = step.tertulia_commits_total, rows = step.tertulia_store_rows_total;
    const base = await pgbench(postgres, database, {
      rowsPerCommit: rows / commits, rooms: workload.rooms, clients: 2, commitsPerSecond: commits / step.seconds, seconds,
    });
    const usPerRow = (cpuUs[at + 1] - cpuUs[at]) / rows;
    steps.push({ ...step, rowsPerSecond: rows / step.seconds, rowsPerCommit: rows / commits, usPerRow, base, ratio: usPerRow / base.usPerRow });
  }
  await postgres.query(`DROP DATABASE ${database} WITH (FORCE)`, { database: 'postgres' });
  return { steps, logs };
}

async function benchPostgres(bench, { rounds, seconds }) {
  let faults = 0;
  for (const workload of Object.values(appending)) {
    const all = [];
    for (let round = 0; round < rounds; ++round) all.push(await appendRound(bench, workload, seconds));
    const rows = workload.rates.map((rate, at) => {
      const steps = all.map((round) => round.steps[at]).filter(Boolean);
      if (steps.length === 0) return undefined;
      const of = (key) => steps.map((step) => step[key]);
      const saturated = steps.some((step) => step.seconds > step.offered_seconds * 1.25);
      faults += steps.reduce((sum, step) => sum + step.faults, 0);
      return [digits(rate) + (saturated ? ' (saturated)' : ''), withSpread(of('rowsPerSecond')), withSpread(of('rowsPerCommit')),
        withSpread(of('usPerRow')), withSpread(steps.map((step) => step.base.usPerRow)), withSpread(steps.map((step) => step.base.rowsPerSecond)),
        `**${withSpread(of('ratio'))}**`, ms(of('each_p50_us')), ms(of('each_p99_us')), steps.reduce((sum, step) => sum + step.faults, 0)];
    }).filter((row) => row !== undefined);
    const logs = all.map((round) => round.logs);
    const broken = logs.reduce((sum, log) => sum + log.faults, 0);
    faults += broken;
    console.log(`\npostgres: two nodes append to ${workload.title}\n\n${tableOf(
      ['messages/s', 'rows/s', 'rows a commit', 'PostgreSQL CPU-µs a row', 'pgbench', 'its rows/s', 'ratio', 'p50 ms', 'p99 ms', 'faults'], rows)}\n\n` +
      `${digits(logs.reduce((sum, log) => sum + log.rows, 0))} rows in the tables; gaps, chains that do not continue, wrong heads: ${broken}`);
  }
  return faults;
}

async function benchNodes(bench, { rounds, seconds }) {
  let faults = 0;
  for (const workload of Object.values(fanOut)) {
    /** @type {Record<string, any>[]} */ const all = [];
    const targets = { one: { nodesCount: 1, bus: false }, two: { nodesCount: 2, bus: true } };
    for (let round = 0; round < rounds; ++round) {
      const figures = {};
      for (const name of round % 2 ? ['two', 'one'] : ['one', 'two']) {
        const { nodesCount } = targets[name];
        const run = await bench.run({ ...workload, members: membersEach * nodesCount }, { ...targets[name], seconds, pinned: true });
        figures[name] = run.figures.steps[0];
      }
      all.push(figures);
    }
    const rows = Object.entries({ one: 'one node, local bus', two: 'two nodes, NATS' }).map(([name, title]) => {
      const steps = all.map((round) => round[name]);
      const of = (key) => steps.map((step) => step[key]);
      const wrong = steps.reduce((sum, step) => sum + step.faults, 0);
      faults += wrong;
      return [title, digits(median(of('deliveriesPerSecond'))), withSpread(of('usPerDelivery')),
        name === 'one' ? '1' : `**${withSpread(all.map((round) => round.two.usPerDelivery / round.one.usPerDelivery))}**`,
        digits(median(steps.map((step) => step.deliveries / step.tertulia_flushes_total))), percent(of('server_cpu_share')),
        percent(of('driver_cpu_share')), ms(of('each_p50_us')), ms(of('each_p99_us')), wrong];
    });
    console.log(`\nnodes: one room, ${digits(membersEach)} members on each node, ${workload.title}\n\n${tableOf(
      ['', 'deliveries/s', 'CPU-µs a delivery', 'ratio', 'deliveries a send', 'nodes', 'driver', 'p50 ms', 'p99 ms', 'faults'], rows)}`);
  }
  return faults;
}

/** @param {string[]} argv @returns {Promise<number>} the exit status */
export async function measureCluster(argv) {
  const options = { rounds: 3, seconds: 4 };
  const names = [];
  for (let i = 0; i < argv.length; ++i) {
    const key = argv[i].slice(2);
    if (clusterNames.includes(argv[i])) names.push(argv[i]);
    else if ((key === 'rounds' || key === 'seconds') && Number(argv[i + 1]) > 0) options[key] = Number(argv[++i]);
    else throw new Error(`${argv[i]} means nothing beside ${names[0] ?? clusterNames.join(' and ')}; --help tells what does`);
  }
  const bench = new Bench();
  let faults = 0;
  try {
    await bench.start();
    console.log(`Two nodes of one shard, one NATS server, one PostgreSQL on this machine (fsync on, synchronous_commit on, no standby; its data ${
      statfsSync(bench.folder).type === tmpfs ? 'in MEMORY, so nothing waits for a disk' : 'on a disk'}); ${options.rounds} rounds, nodes and pgbench in turns`);
    if (names.includes('postgres')) faults += await benchPostgres(bench, options);
    if (names.includes('nodes')) faults += await benchNodes(bench, options);
  } finally {
    await bench.stop();
  }
  if (faults > 0) console.log(`\n${faults} FAULTS: messages were lost, repeated, reordered or not what was sent`);
  return faults > 0 ? 1 : 0;
}
