// script/cluster: a whole cluster on this machine, for a person to try out. What dies is started again, as a supervisor
// would; everything ends with this process.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Cluster } from './cluster.mjs';
import { howEnded, mayListen, removeFolder, temporaryFolder } from './program.mjs';
import { repository } from '../system/lib/server.mjs';

const help = `script/cluster [NODES] [OPTION...]: a chat on several nodes, all on this machine

Starts three NATS servers, a store, NODES nodes (3) and HAProxy before them, prints one address to open in a browser,
and who runs where. Kill what you like: what dies is started again. Ctrl-C ends everything.

  --store KIND         postgresql (default) or mongodb: the server at MONGODB_URL, else a mongod, else FerretDB
  --dir DIR            data and logs go there and stay; the next time the same chats are there again
                       (default: a temporary directory, removed at the end)
  --listen HOST:PORT   where HAProxy listens (default: 127.0.0.1 and a free port)
  --restart SECONDS    what dies is started again after so long; off: it is not (default: 5)
  --help
What stands behind -- is passed to each node: script/cluster 3 -- --log-level debug`;

const most = 16;

/** Says it and ends. @param {string} sentence @returns {never} */
function refuse(sentence) {
  console.error(`script/cluster: ${sentence}`);
  process.exit(2);
}

/** @param {string[]} line */
function wanted(line) {
  const split = line.includes('--') ? line.indexOf('--') : line.length;
  let parsed;
  try {
    parsed = parseArgs({
      args: line.slice(0, split), allowPositionals: true,
      options: {
        store: { type: 'string', default: 'postgresql' }, dir: { type: 'string' }, listen: { type: 'string' },
        restart: { type: 'string', default: '5' }, help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    refuse(`${/** @type {Error} */ (error).message}; --help tells what there is`);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const [count = '3', ...rest] = positionals;
  const nodesCount = Number(count);
  if (rest.length > 0 || !Number.isInteger(nodesCount) || nodesCount < 1 || nodesCount > most)
    refuse(`NODES is a number from 1 to ${most}, not "${positionals.join(' ')}"; --help tells more`);
  const { store } = values;
  if (store !== 'postgresql' && store !== 'mongodb') refuse(`--store is postgresql or mongodb, not "${store}"`);
  const listen = /^(.+):(\d+)$/.exec(values.listen ?? '127.0.0.1:0');
  if (!listen || Number(listen[2]) > 65_535) refuse(`--listen is HOST:PORT, as in 0.0.0.0:8080, not "${values.listen}"`);
  const restart = values.restart === 'off' ? undefined : Number(values.restart);
  if (Number.isNaN(restart)) refuse(`--restart is a number of seconds or off, not "${values.restart}"`);
  return {
    nodesCount, store: /** @type {'postgresql'|'mongodb'} */ (store), folder: values.dir && resolve(values.dir), host: listen[1],
    port: Number(listen[2]) || undefined, restart, args: line.slice(split + 1),
  };
}

/** One at a time in a directory. @param {string} folder */
function lock(folder) {
  const file = join(folder, 'running.pid');
  if (existsSync(file)) {
    const pid = Number(readFileSync(file, 'utf8'));
    try {
      process.kill(pid, 0);
      refuse(`${folder} is in use by process ${pid}; end that first, or choose another --dir`);
    } catch { /* it was killed */ }
  }
  writeFileSync(file, String(process.pid));
  process.on('exit', () => rmSync(file, { force: true }));
}

const say = (/** @type {string} */ sentence) => console.log(`${new Date().toTimeString().slice(0, 8)}  ${sentence}`);

const options = wanted(process.argv.slice(2));
if (options.port && !await mayListen(options.port, options.host))
  refuse(`cannot listen on ${options.host}:${options.port} (in use, or not this machine's); choose another --listen`);
const folder = options.folder ?? temporaryFolder('cluster');
mkdirSync(folder, { recursive: true });
lock(folder);

const cluster = new Cluster({
  ...options, folder, binary: process.env.TERTULIA_BINARY ?? join(repository, 'build/release/tertulia'), logFiles: true,
});
let ending = false;
async function end(status) {
  if (ending) process.exit(status);  // asked twice: at once
  ending = true;
  console.log('\nending everything …');
  await cluster.stop().catch((error) => console.error(error.message));
  if (!options.folder) removeFolder(folder);
  else console.log(`data and logs are in ${folder}`);
  process.exit(status);
}
for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, () => void end(0));

try {
  await cluster.start();
} catch (error) {
  if (ending) await new Promise(() => {});
  console.error(`script/cluster: it does not start. ${/** @type {Error} */ (cluster.explain(error)).message}`);
  await end(1);
}

/** What dies is told, and started again. */
function watch({ name, thing, what, start, after }) {
  const died = async (ended) => {
    if (ending) return;
    if (options.restart === undefined) {
      say(`${name} has ended (${howEnded(ended)}). ${what}`);
      return;
    }
    say(`${name} has ended (${howEnded(ended)}). ${what} It is started again in ${options.restart} s.`);
    await new Promise((resolve) => setTimeout(resolve, options.restart * 1000));
    if (ending) return;
    try {
      await start();
      say(`${name} is back as process ${thing.pid}. ${await after?.() ?? ''}`);
    } catch (error) {
      say(`${name} does not start again: ${/** @type {Error} */ (error).message}`);
    }
  };
  if ('onDeath' in thing) thing.onDeath = died;
  else thing.onEnd = died;
}

const { nats, postgres, mongo, nodes, haproxy } = cluster;
const databaseProgram = postgres ?? mongo?.program;
nodes.forEach((node, i) => {
  watch({
    name: `node${i + 1}`, thing: node, start: () => node.start(), what: nodes.length > 1 ? 'Its people go to the other nodes, and miss nothing.' : 'There is no other; its people wait for it.',
    after: async () => `Newcomers go to it. Members by node: ${(await members()).join(', ')}.`,
  });
});
for (const server of nats) watch({ name: server.name, thing: server, start: () => server.start(), what: 'The nodes use the other NATS servers.' });
if (databaseProgram)
  watch({
    name: databaseProgram.name, thing: databaseProgram, start: () => databaseProgram.start(60_000),
    what: 'What is said now waits, and nobody loses a word; who joins is asked to wait.',
  });
if (haproxy) watch({ name: haproxy.name, thing: haproxy, start: () => haproxy.start(), what: 'Nobody gets in, and all come back when it does.' });

async function members() {
  return Promise.all(nodes.map(async (node) => (node.running ? node.metric('tertulia_members').catch(() => '?') : '-')));
}

const row = (/** @type {any[]} */ ...cells) => cells.map((cell, i) => String(cell).padEnd([12, 9, 34, 0][i])).join('');
const shown = cluster.httpUrl.replace('0.0.0.0', '127.0.0.1');
console.log(`
${row('', 'process', 'where', 'log')}
${nats.map((each) => row(each.name, each.pid, `127.0.0.1:${each.port}`, each.logFile)).join('\n')}
${databaseProgram ? row(databaseProgram.name, databaseProgram.pid, `127.0.0.1:${postgres?.port ?? mongo?.port}`, databaseProgram.logFile)
    : row('mongodb', '', 'as MONGODB_URL says', '')}
${nodes.map((node, i) => row(`node${i + 1}`, node.pid, `127.0.0.1:${node.port} (internal ${node.internalPort})`, node.options.logFile)).join('\n')}
${row('haproxy', haproxy?.pid, `${options.host}:${haproxy?.port}`, haproxy?.logFile)}

  Open ${shown}/ in a browser, in two windows, and talk. In a terminal: script/chat ROOM NAME ${shown}
  Then kill a node, and watch nothing happen:
    kill -9 ${nodes[0].pid}      node1 dies            kill -STOP ${nodes[0].pid}   it freezes (kill -CONT: it goes on)
    kill ${nodes[0].pid}         node1 drains          kill -9 ${nats[0]?.pid}     a NATS server dies
  Ctrl-C ends everything.
`);
