// What TERTULIA_TEST_SETUP chooses: the tests of one node over SQLite, run unchanged on something else.
//
//   postgresql       one node over PostgreSQL
//   mongodb          one node over MongoDB, or what stands in for it (tests/cluster/mongo.mjs)
//   cluster          three nodes over PostgreSQL and NATS, behind HAProxy
//   cluster-mongodb  likewise over MongoDB
//   proxied          one node over SQLite behind HAProxy: what fails on a cluster and not here is not the balancer's doing
//
// A process has one database server, and each Server an empty database in it.
import { Cluster } from '../../cluster/cluster.mjs';
import { Mongo } from '../../cluster/mongo.mjs';
import { Postgres } from '../../cluster/postgres.mjs';
import { removeFolder, temporaryFolder } from '../../cluster/program.mjs';
import { readPostgres } from '../../checker/cluster_store.mjs';
import { Server, setup } from './server.mjs';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const isMongo = setup.endsWith('mongodb');
/** @type {Promise<Postgres|Mongo>|undefined} */ let databaseServer;

function database() {
  databaseServer ??= isMongo ? Mongo.start({ folder: temporaryFolder('store') }) : Postgres.start({ folder: temporaryFolder('store'), fast: true });
  return databaseServer;
}

/** @returns {Promise<{url: string, read: () => Promise<import('../../checker/store.mjs').Store>}>} */
export async function emptyStore() {
  const server = await database();
  const name = await server.database();
  return server instanceof Postgres
    ? { url: server.url(name), read: () => readPostgres(server, name) }
    : { url: server.url(name), read: () => server.read(name) };
}

/** A cluster that looks like one Server: what is done to it is done to all of its nodes. */
export class ClusterServer {
  #owned = false;
  starts = 0;
  /** @type {Cluster|undefined} */ #cluster;

  /** @param {import('./server.mjs').ServerOptions} [options] */
  constructor(options = {}) {
    if (options.wrapper || options.store) throw new Error('a cluster takes neither a wrapper nor a store of its own');
    this.options = options;
    this.dataDir = options.dataDir ?? '';
  }

  get cluster() {
    if (!this.#cluster) throw new Error('the cluster has not been started');
    return this.#cluster;
  }
  get nodes() {
    return this.#cluster?.nodes ?? [];
  }
  get address() {
    return this.cluster.address;
  }
  get host() {
    return this.address.host;
  }
  get port() {
    return this.address.port;
  }
  get url() {
    return this.cluster.url;
  }
  get httpUrl() {
    return this.cluster.httpUrl;
  }
  /** Of the first node: all of them drain, and are ready, together. */
  get internalUrl() {
    return this.nodes[0].internalUrl;
  }
  get internalPort() {
    return this.nodes[0].internalPort;
  }
  get running() {
    return this.nodes.some((node) => node.running);
  }
  get log() {
    return this.nodes.map((node, i) => `--- node${i + 1}\n${node.log}`).join('\n');
  }
  get ended() {
    return this.#ends(Promise.all(this.nodes.map((node) => node.ended)));
  }

  /** @param {Parameters<Server['start']>[0]} [now] */
  async start(now = {}) {
    if (this.starts++ === 0) {
      if (now.failpoint || now.args || now.env) throw new Error('a cluster starts all its nodes alike');
      if (this.dataDir === '') {
        this.dataDir = mkdtempSync(join(tmpdir(), 'tertulia-test-'));
        this.#owned = true;
      }
      const { args, env, binary } = this.options;
      this.#cluster = await Cluster.start({
        folder: this.dataDir, args, env, binary,
        ...(setup === 'proxied' ? { nodesCount: 1, natsCount: 0, store: 'sqlite' } : { natsCount: 1, storeMade: await emptyStore() }),
      });
      return;
    }
    await Promise.all(this.nodes.map((node) => node.start(now)));
    await this.cluster.allUp();
  }

  kill() {
    return this.#ends(Promise.all(this.nodes.map((node) => node.kill())));
  }
  stop() {
    return this.#ends(Promise.all(this.nodes.map((node) => node.stop())));
  }
  interrupt() {
    return this.#ends(Promise.all(this.nodes.map((node) => node.interrupt())));
  }
  /** @param {NodeJS.Signals} signal */
  signal(signal) {
    for (const node of this.nodes) node.signal(signal);
  }
  /** How they ended; not alike is an end of its own. */
  async #ends(all) {
    const [first, ...others] = await all;
    for (const { code, signal } of others)
      if (code !== first.code || signal !== first.signal) return { code: `${first.code} and ${code}`, signal: `${first.signal} and ${signal}` };
    return first;
  }

  readStore() {
    return this.nodes[0].readStore();
  }
  /** Of all nodes, summed. */
  async metrics() {
    const sum = new Map();
    for (const node of this.nodes)
      for (const [name, value] of await node.metrics()) sum.set(name, (sum.get(name) ?? 0) + value);
    return sum;
  }
  /** @param {string} name */
  metric(name) {
    return this.cluster.metric(name);
  }

  async remove() {
    await this.#cluster?.stop();
    if (this.#owned) removeFolder(this.dataDir);
  }
  /** @param {any} error */
  explain(error) {
    return this.#cluster?.explain(error) ?? error;
  }
}
