// PostgreSQL on this machine, in a directory of its own: made, started, killed, and given a synchronous standby that can
// take over. It refuses to run as root, so for root it runs as the user that Debian's package makes.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, needProgram, Program } from './program.mjs';
import { until } from '../system/lib/until.mjs';

const run = promisify(execFile);
const outputBytesMax = 1 << 30;
const user = 'tertulia';
const isRoot = process.getuid?.() === 0;
const runsAs = isRoot ? 'postgres' : undefined;

/** Debian's newest. */
function programsFolder() {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).map(Number).filter((each) => each >= 13) : [];
  const folders = versions.sort((a, b) => b - a).map((version) => join(root, String(version), 'bin'));
  needProgram('initdb', folders);
  return folders.find((folder) => existsSync(join(folder, 'postgres'))) ?? '';
}

/**
 * @typedef {object} PostgresOptions
 * @property {string} folder for data, logs and sockets; a database that lies there is used again
 * @property {string} [name]
 * @property {boolean} [fast] for tests that kill other programs and never the machine: nothing is synced to the disk
 * @property {{certificate: string, key: string}} [tls] files; it then takes TLS too
 */

export class Postgres extends Program {
  /** @param {{name: string, folder: string, port: number, password: string, programs: string}} at */
  constructor({ name, folder, port, password, programs }) {
    const data = join(folder, name);
    super({
      name, logFile: join(folder, `${name}.log`), user: runsAs,
      command: [join(programs, 'postgres'), '-D', data],
      // Immediate: as a crash, but it leaves nothing behind.
      deathSignal: 'SIGQUIT',
      isReady: () => this.query('SELECT 1', { database: 'postgres', withinMs: 2_000 }).then(() => true, () => false),
    });
    this.folder = folder;
    this.data = data;
    this.port = port;
    this.password = password;
    this.programs = programs;
    this.databases = 0;
  }

  /** A primary that serves. @param {PostgresOptions} options */
  static async start({ folder, name = 'postgresql', fast = false, tls }) {
    const programs = programsFolder();
    const data = join(folder, name), passwordFile = join(folder, `${name}.password`);
    const port = await freePort();
    const fresh = !existsSync(join(data, 'PG_VERSION'));
    if (fresh) writeFileSync(passwordFile, randomBytes(18).toString('base64url'), { mode: 0o600 });
    const server = new Postgres({ name, folder, port, password: readFileSync(passwordFile, 'utf8'), programs });
    if (fresh) {
      if (isRoot) await own(passwordFile);
      await makeFolder(data);
      await command(join(programs, 'initdb'), ['-D', data, '-U', user, '--pwfile', passwordFile, '-A', 'scram-sha-256',
        '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync', '--no-instructions']);
      if (isRoot) chownSync(passwordFile, 0, 0);
    }
    if (tls && isRoot) await own(tls.key);
    server.configure({ fast, more: tls ? { ssl: 'on', ssl_cert_file: tls.certificate, ssl_key_file: tls.key } : {} });
    rmSync(join(data, 'postmaster.pid'), { force: true });
    await server.start();
    return server;
  }

  /** @param {{fast?: boolean, more?: Record<string, string|number>}} options */
  configure({ fast = false, more = {} }) {
    const sockets = join(this.folder, `${this.name}.sockets`);
    const settings = {
      port: this.port, listen_addresses: '127.0.0.1', unix_socket_directories: sockets, max_connections: 200,
      shared_buffers: '64MB', max_wal_size: '256MB', log_timezone: 'UTC', timezone: 'UTC', wal_keep_size: '256MB',
      ...(fast ? { fsync: 'off', full_page_writes: 'off', autovacuum: 'off' } : {}), ...more,
    };
    mkdirSync(sockets, { recursive: true });
    if (isRoot) this.#give(sockets);
    const file = join(this.data, 'tertulia.conf');
    writeFileSync(file, Object.entries(settings).map(([key, value]) => `${key} = '${value}'\n`).join(''));
    if (isRoot) this.#give(file);
    const main = join(this.data, 'postgresql.conf');
    if (!readFileSync(main, 'utf8').includes("include 'tertulia.conf'"))
      writeFileSync(main, `${readFileSync(main, 'utf8')}\ninclude 'tertulia.conf'\n`);
  }
  #give(path) {
    const { uid, gid } = statSync(this.data);
    chownSync(path, uid, gid);
  }

  /** What --store takes. @param {string} database @param {{host?: string, port: number}[]} [hosts] default: here */
  url(database, hosts = [{ port: this.port }]) {
    const at = hosts.map(({ host = '127.0.0.1', port }) => `${host}:${port}`).join(',');
    return `postgresql://${user}:${this.password}@${at}/${database}${hosts.length > 1 ? '?target_session_attrs=read-write' : ''}`;
  }

  /** An empty database. @param {string} [name] @returns {Promise<string>} its name */
  async database(name = `tertulia_${++this.databases}`) {
    const there = await this.query(`SELECT 1 FROM pg_database WHERE datname = '${name}'`, { database: 'postgres' });
    if (there === '') await this.query(`CREATE DATABASE ${name}`, { database: 'postgres' });
    return name;
  }

  /**
   * @param {string} sql @param {{database: string, withinMs?: number}} how
   * @returns {Promise<string>} rows in lines, columns divided by |
   */
  async query(sql, { database, withinMs = 60_000 }) {
    const { stdout } = await run(join(this.programs, 'psql'), ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', this.url(database), '-c', sql],
      { maxBuffer: outputBytesMax, timeout: withinMs });
    return stdout.trimEnd();
  }

  /** All of its processes: a server of PostgreSQL is a first one and its children. @returns {number[]} */
  processes() {
    const { pid } = this;
    if (pid === undefined) return [];
    return [pid, ...readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter((each) => each !== '').map(Number)];
  }

  /** Its clean end; what is open is cut. */
  stop() {
    return this.end('SIGINT');
  }
  /** As a crash: kill -9 of the first process; the kernel keeps what was written, and the others end by themselves. */
  async crash() {
    await this.kill();
    // Until its children have gone too it cannot start again: they hold its shared memory.
    this.#mayStart = false;
  }
  #mayStart = true;
  async start(withinMs = 30_000) {
    if (this.#mayStart) return super.start(withinMs);
    const deadline = performance.now() + withinMs;
    for (;;) {
      try {
        await super.start(Math.max(1, deadline - performance.now()));
        this.#mayStart = true;
        return this;
      } catch (error) {
        if (performance.now() > deadline || !/shared memory block|lock file/.test(this.log)) throw error;
        await this.ended;
      }
    }
  }

  /**
   * A standby that this server waits for at every commit, streaming.
   * @param {Postgres} [insteadOf] one that has ended for good: its port and its directory are used
   * @returns {Promise<Postgres>}
   */
  async startStandby(insteadOf) {
    const name = insteadOf?.name ?? 'standby';
    const port = insteadOf?.port ?? await freePort();
    const standby = new Postgres({ name, folder: this.folder, port, password: this.password, programs: this.programs });
    rmSync(standby.data, { recursive: true, force: true });
    await makeFolder(standby.data);
    const from = `host=127.0.0.1 port=${this.port} user=${user} password=${this.password} application_name=${name}`;
    await command(join(this.programs, 'pg_basebackup'), ['-D', standby.data, '-d', from, '-R', '-X', 'stream', '-c', 'fast', '--no-sync']);
    standby.configure({});
    await standby.start();
    const state = (column) => this.query(`SELECT ${column} FROM pg_stat_replication WHERE application_name = '${name}'`, { database: 'postgres' });
    await until('the standby streams', async () => await state('state') === 'streaming');
    this.configure({ more: { synchronous_standby_names: name } });
    this.signal('SIGHUP');
    await until('the standby is synchronous', async () => await state('sync_state') === 'sync');
    return standby;
  }

  /** A standby takes over. */
  async promote() {
    await this.query('SELECT pg_promote(true, 30)', { database: 'postgres' });
    await until(`${this.name} takes writes`, async () => await this.query('SELECT pg_is_in_recovery()', { database: 'postgres' }) === 'f');
  }
}

async function makeFolder(path) {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o700);
  if (isRoot) await own(path);
}
/** Gives it to the user as whom PostgreSQL runs. */
async function own(path) {
  const [{ stdout: uid }, { stdout: gid }] = [await run('id', ['-u', runsAs]), await run('id', ['-g', runsAs])];
  chownSync(path, Number(uid), Number(gid));
}
/** Runs one of its programs as it must be run. */
async function command(program, args) {
  const asWhom = runsAs ? ['setpriv', `--reuid=${runsAs}`, `--regid=${runsAs}`, '--clear-groups', '--'] : [];
  const [first, ...rest] = [...asWhom, program, ...args];
  await run(first, rest, { cwd: '/' }).catch((error) => {
    throw new Error(`cluster: ${program} failed:\n${error.stdout}${error.stderr}`);
  });
}
