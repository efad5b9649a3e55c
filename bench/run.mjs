// Runs workloads of the load driver against the server and the bare loop, in turns, and makes tables of what it says.
// script/bench builds everything and starts this; --help tells the options. Every run checks for lost, repeated and
// reordered messages, and the exit status says whether there were any.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { clusterNames, measureCluster } from './cluster.mjs';
import { build, drive, launch, pins } from './drive.mjs';
import { Server } from '../tests/system/lib/server.mjs';
import { until } from '../tests/system/lib/until.mjs';
import { figuresOf, report } from './report.mjs';

/**
 * @typedef {object} Workload
 * @property {string} title
 * @property {number} members
 * @property {number} rooms
 * @property {number} roomsEach of each member
 * @property {number} [publishers] who speak in turns, instead of one
 * @property {number[]} rates bursts a second; one step each, in one run
 * @property {number} burst messages at once
 * @property {number} textBytes of each message
 * @property {number} [settle] seconds of silence before the first step
 * @property {number} [seconds] of a step, instead of five
 * @property {boolean} [alone] the bare loop has nothing to say to it
 */

/** @type {Record<string, Workload>} */
export const workloads = {
  a: {
    title: 'A: one room, 1,000 members, 200 B; 10 messages/s, then a ramp',
    members: 1000, rooms: 1, roomsEach: 1, rates: [10, 100, 1000, 4000, 16000], burst: 1, textBytes: 200,
  },
  c: {
    title: 'C: one room, 2,000 members, bursts of 64 messages every 250 ms, 200 B',
    members: 2000, rooms: 1, roomsEach: 1, rates: [4], burst: 64, textBytes: 200,
  },
  'c-large': {
    title: 'C: one room, 2,000 members, a message of 32 KiB every 250 ms',
    members: 2000, rooms: 1, roomsEach: 1, rates: [4], burst: 1, textBytes: 32 << 10,
  },
  'c-rooms': {
    title: 'C: 2,000 members, each in the same 10 rooms, bursts of 64 messages over the rooms every 250 ms, 200 B',
    members: 2000, rooms: 10, roomsEach: 10, rates: [4], burst: 64, textBytes: 200,
  },
  messages: {
    title: 'What a message costs: 20 rooms of 2 members, 4,000 messages/s in bursts of 40, 200 B',
    members: 40, rooms: 20, roomsEach: 1, publishers: 20, rates: [100], burst: 40, textBytes: 200, alone: true,
  },
  idle: {
    title: 'Idle: 10,000 members in 100 rooms, silent',
    members: 10_000, rooms: 100, roomsEach: 1, rates: [0], burst: 1, textBytes: 200, alone: true,
    // A minute holds four pings and three heartbeats of everybody.
    settle: 5, seconds: 60,
  },
};

/**
 * @typedef {object} Target what is measured
 * @property {string} name
 * @property {boolean} [bare]
 * @property {string} [binary] of the server
 */

/**
 * One run of all steps of a workload.
 * @param {Target} target
 * @param {Workload} workload
 * @param {{seconds?: number, shards: number, store: string, perf?: string, serverArgs?: string[]}} options
 */
export async function measure(target, workload, options) {
  const pin = pins(options.shards);
  if (target.bare) {
    const bare = launch([...pin.server, join(build, 'bench_bare')]);
    try {
      await until('the bare loop listens', async () => bare.output().includes('\n'));
      return await drive({ port: Number(bare.output().slice(5)), pid: bare.pid, bare: true }, workload, options, pin.driver);
    } finally {
      bare.child.kill('SIGKILL');
      await bare.ended;
    }
  }
  // On the disk of the repository: a temporary directory may well lie in memory, where nothing is durable.
  const dataDir = mkdtempSync(join(build, 'bench-data-'));
  const server = new Server({
    binary: target.binary ?? process.env.TERTULIA_BINARY ?? join(build, 'tertulia'), dataDir, wrapper: pin.server,
    args: ['--shards', String(options.shards), '--store', options.store, '--rate-limits', 'off', '--log-level', 'warn',
      ...(options.serverArgs ?? [])],
  });
  try {
    await server.start();
    const metrics = `127.0.0.1:${server.internalPort}`;
    return await drive({ port: server.port, pid: Number(server.pid), metrics }, workload, options, pin.driver);
  } catch (error) {
    throw server.explain(error);
  } finally {
    await server.remove();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const help = `script/bench [WORKLOAD...] [OPTION...]   measures; docs/benchmarks.md tells what and how
  WORKLOAD          ${Object.keys(workloads).join(', ')}; all of these without one
  ${clusterNames.join(', ').padEnd(16)}  two nodes on one PostgreSQL, against pgbench and against one node; these are named
                    alone, with --rounds (3) and --seconds (4)
  --seconds N       of each step (5; idle: 60)
  --rounds N        interleaved runs of everything (5); medians and spreads are over them
  --shards N        of the server (1)
  --store NAME      sqlite (durable) or memory (not)
  --against BINARY  another server binary, run in turns with this one
  --no-bare         without the bare loop
  --rates N,N...    bursts a second instead of the workload's own
  --members N       instead of the workload's own
  --perf FILE       a perf record of the server's last run (where perf works)
  --json FILE       everything that was measured
  -- OPTION...      everything behind it goes to the server
  --smoke           ten seconds of everything, small: only order, loss and sanity`;

function argumentsOf(argv) {
  const options = { names: [], seconds: undefined, rounds: 5, shards: 1, store: 'sqlite', bare: true, rates: undefined,
    members: undefined, against: undefined, perf: undefined, json: undefined, serverArgs: [] };
  for (let i = 0; i < argv.length; ++i) {
    const argument = argv[i];
    if (workloads[argument]) options.names.push(argument);
    else if (['--seconds', '--rounds', '--shards', '--members'].includes(argument)) {
      options[argument.slice(2)] = Number(argv[++i]);
      if (!(options[argument.slice(2)] > 0)) throw new Error(`${argument} wants a number above 0`);
    } else if (argument === '--rates') options.rates = argv[++i].split(',').map(Number);
    else if (['--store', '--against', '--perf', '--json'].includes(argument)) options[argument.slice(2)] = argv[++i];
    else if (argument === '--') options.serverArgs = argv.splice(i + 1);
    else if (argument === '--no-bare') options.bare = false;
    else throw new Error(`${argument} means nothing here; --help tells what does`);
  }
  if (options.names.length === 0) options.names = Object.keys(workloads);
  return options;
}

async function main(argv) {
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(help);
    return 0;
  }
  if (argv.some((argument) => clusterNames.includes(argument))) return measureCluster(argv);
  const options = argumentsOf(argv);
  const { server, driver } = pins(options.shards);
  console.log(`${options.shards} shard${options.shards > 1 ? 's' : ''}; ` + (server.length === 0
    ? 'server and driver share the cores: read nothing but losses from this'
    : `server on core ${server.at(-1)}, driver on core ${driver.at(-1)}`) +
    `; durable: ${options.store === 'memory' ? 'no (memory)' : `yes (${options.store}, synchronous=FULL)`}; ` +
    `the bare loop: no; ${options.rounds} interleaved rounds`);
  const all = {};
  let faults = 0;
  for (const name of options.names) {
    const workload = { ...workloads[name] };
    if (options.rates) workload.rates = options.rates;
    if (options.members) workload.members = options.members;
    /** @type {Target[]} */
    const targets = [{ name: 'tertulia' }];
    if (options.against) targets.push({ name: 'against', binary: options.against });
    if (options.bare && !workload.alone) targets.push({ name: 'bare', bare: true });
    const rounds = [];
    for (let round = 0; round < options.rounds; ++round) {
      const figures = {};
      // Turn about, so that a drift of the machine favours nobody.
      for (const target of round % 2 ? [...targets].reverse() : targets)
        figures[target.name] = figuresOf(await measure(target, workload, options));
      rounds.push(figures);
    }
    all[name] = rounds;
    const text = report(workload, rounds);
    faults += text.faults;
    console.log(`\n${text.table}`);
  }
  if (options.json) writeFileSync(options.json, JSON.stringify(all, null, 1));
  if (faults > 0) console.log(`\n${faults} FAULTS: messages were lost, repeated, reordered or not what was sent`);
  return faults > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  main(process.argv.slice(2)).then((code) => { process.exitCode = code; }, (error) => {
    console.error(`script/bench: ${error.message}`);
    process.exitCode = 2;
  });
