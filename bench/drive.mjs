// Starts the load driver at a server and reads what it says. Programs that are started here end with this process.
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { repository } from '../tests/system/lib/server.mjs';

/** Where the programs lie. */
export const build = process.env.TERTULIA_BUILD ?? join(repository, 'build/release');

/** What must not outlive this process. @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

const hasTaskset = spawnSync('taskset', ['-V']).status === 0;

/** The cores of server and driver; empty: wherever the kernel likes. @param {number} shards */
export function pins(shards) {
  if (!hasTaskset || availableParallelism() < shards + 1) return { server: [], driver: [] };
  const cores = shards === 1 ? '0' : `0-${shards - 1}`;
  return { server: ['taskset', '-c', cores], driver: ['taskset', '-c', String(shards)] };
}

let runs = 0;

/**
 * @param {{port: number|string, pid: number|string|undefined, metrics?: string, bare?: boolean}} server of several nodes: each
 *   with commas between
 * @param {import('./run.mjs').Workload} workload
 * @param {{seconds?: number, perf?: string}} options
 * @param {string[]} pin
 * @param {(line: any) => void} [told] of each line at the moment it is written
 */
export async function drive(server, workload, options, pin, told) {
  const seconds = options.seconds ?? workload.seconds ?? 5;
  const command = [
    ...pin, join(build, 'bench_driver'), '--port', server.port, '--pid', server.pid,
    '--run', `run${process.pid}x${++runs}`, '--members', workload.members, '--rooms', workload.rooms,
    '--rooms-each', workload.roomsEach, '--rates', workload.rates.join(','), '--burst', workload.burst,
    '--text-bytes', workload.textBytes, '--publishers', workload.publishers ?? 1, '--seconds', seconds, '--settle', workload.settle ?? 1,
  ];
  if (server.bare) command.push('--bare');
  if (server.metrics) command.push('--metrics', server.metrics);
  const driver = launch(command.map(String), told && ((line) => told(JSON.parse(line))));
  const perf = options.perf && !server.bare
    ? launch(['perf', 'record', '-q', '-o', options.perf, '-e', 'cpu-clock', '-F', '1999', '-g', '-p', String(server.pid)])
    : undefined;
  await driver.ended;
  perf?.child.kill('SIGINT');
  await perf?.ended;
  const lines = driver.output().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const error = lines.find((line) => line.kind === 'error');
  if (error) throw new Error(`the driver gave up: ${error.error}`);
  if (lines.at(-1)?.kind !== 'after') throw new Error(`the driver ended early:\n${driver.output()}`);
  return lines;
}

/** @param {string[]} command @param {(line: string) => void} [told] */
export function launch(command, told) {
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let output = '';
  let read = 0;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
    for (let end; told && (end = output.indexOf('\n', read)) >= 0; read = end + 1) told(output.slice(read, end));
  });
  const ended = new Promise((done) => {
    child.once('error', (error) => { output += `{"kind":"error","error":${JSON.stringify(String(error))}}\n`; done(-1); });
    child.once('close', (code) => { children.delete(child); done(code); });
  });
  return { child, pid: child.pid, output: () => output, ended };
}
