// What speaks MongoDB's protocol on this machine: the server at MONGODB_URL, or a mongod from the PATH, or FerretDB, which
// tests/ferretdb builds. The last knows neither write concern nor failover and is slow: it shows that the protocol is
// spoken rightly, not how fast or how safe MongoDB is.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readMongo } from '../checker/cluster_store.mjs';
import { findProgram, freePort, Program, takesConnections } from './program.mjs';
import { until } from '../system/lib/until.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const repository = process.env.TERTULIA_SOURCE ?? resolve(here, '../..');

export class Mongo {
  #databases = 0;
  /** @param {{url: string, program?: Program, isReal: boolean}} options */
  constructor({ url, program, isReal }) {
    this.base = new URL(url.replace(/^mongodb/, 'http'));
    this.scheme = url.slice(0, url.indexOf(':'));
    /** None: somebody else runs it. */ this.program = program;
    /** false: FerretDB. */ this.isReal = isReal;
  }

  /**
   * @param {{folder: string, tls?: {certificate: string, key: string, authority: string}}} options tls: files; nobody is
   *   then served without it
   * @returns {Promise<Mongo>}
   */
  static async start({ folder, tls }) {
    if (process.env.MONGODB_URL) return new Mongo({ url: process.env.MONGODB_URL, isReal: true });
    const port = await freePort();
    const data = join(folder, 'mongodb');
    mkdirSync(data, { recursive: true });
    const mongod = findProgram('mongod');
    const command = mongod
      ? [mongod, '--bind_ip', '127.0.0.1', '--port', String(port), '--dbpath', data, '--nounixsocket', '--replSet', 'tertulia',
        ...(tls ? ['--tlsMode', 'requireTLS', '--tlsAllowConnectionsWithoutCertificates', '--tlsCertificateKeyFile', both(tls), '--tlsCAFile', tls.authority] : [])]
      : [await ferretdb(), '-listen', `127.0.0.1:${port}`, '-data', data, ...(tls ? ['-tls-cert', tls.certificate, '-tls-key', tls.key] : [])];
    const program = new Program({
      name: mongod ? 'mongod' : 'ferretdb', command, logFile: join(folder, 'mongodb.log'), deathSignal: 'SIGKILL',
      isReady: () => takesConnections('127.0.0.1', port),
    });
    await program.start();
    const options = tls ? `/?tls=true&tlsCAFile=${tls.authority}` : '';
    const mongo = new Mongo({ url: `mongodb://127.0.0.1:${port}${options}`, program, isReal: mongod !== undefined });
    if (mongod) await mongo.#initiate();
    return mongo;
  }

  /** A replica set of one. */
  async #initiate() {
    await withClient(`${this.url('admin')}${this.base.search ? '&' : '?'}directConnection=true`, async (client) => {
      const admin = client.db('admin');
      const members = [{ _id: 0, host: this.base.host }];
      await admin.command({ replSetInitiate: { _id: 'tertulia', members } }).catch((error) => {
        if (error.codeName !== 'AlreadyInitialized') throw error;
      });
      await until('mongod is a primary', async () => (await admin.command({ hello: 1 })).isWritablePrimary);
    });
  }

  /**
   * The logs of all rooms, read without the server.
   * @param {string} database @returns {Promise<import('../checker/store.mjs').Store>}
   */
  async read(database) {
    return this.use(database, async (opened) => readMongo(await opened.collection('messages').find({}).toArray()));
  }
  /**
   * Does something to a database as its driver can.
   * @template T @param {string} database @param {(database: any) => Promise<T>} body @returns {Promise<T>}
   */
  use(database, body) {
    return withClient(this.url(database), (client) => body(client.db(database)));
  }

  /** What --store takes. @param {string} database @param {string} [at] instead of where it is: 127.0.0.1:PORT of a proxy */
  url(database, at = this.base.host) {
    const { username, password, search } = this.base;
    return `${this.scheme}://${username ? `${username}:${password}@` : ''}${at}/${database}${search}`;
  }
  get port() {
    return Number(this.base.port || 27017);
  }
  /** The name of a database that is not there yet. */
  database() {
    return `tertulia_${process.pid}_${Date.now().toString(36)}_${++this.#databases}`;
  }
  async stop() {
    await this.program?.end('SIGTERM');
  }
}

/** As mongod wants them: certificate and key in one file. */
function both({ certificate, key }) {
  const file = `${certificate}.both`;
  writeFileSync(file, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 });
  return file;
}

async function withClient(url, body) {
  const { MongoClient } = createRequire(join(here, 'package.json'))('mongodb');
  const client = new MongoClient(url);
  try {
    return await body(client);
  } finally {
    await client.close();
  }
}

/** Builds it the first time. @returns {Promise<string>} the program */
async function ferretdb() {
  const script = join(repository, 'tests/ferretdb/build.sh');
  if (!existsSync(script)) throw new Error('cluster: no mongod on the PATH, no MONGODB_URL, and tests/ferretdb is not here');
  const { stdout } = await promisify(execFile)(script, { maxBuffer: 1 << 24 }).catch((error) => {
    throw new Error(`cluster: FerretDB does not build:\n${error.stdout}${error.stderr}`);
  });
  return stdout.trim().split('\n').at(-1) ?? '';
}
