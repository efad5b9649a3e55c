// A whole cluster on this machine: NATS servers, a store, nodes, and HAProxy before them. script/cluster shows it to a
// person (run.mjs); tests/system kills parts of it.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { FaultProxy } from './fault_proxy.mjs';
import { Haproxy } from './haproxy.mjs';
import { Mongo } from './mongo.mjs';
import { natsUrl, startNats } from './nats.mjs';
import { Postgres } from './postgres.mjs';
import { removeFolder, temporaryFolder } from './program.mjs';
import { readPostgres } from '../checker/cluster_store.mjs';
import { Server } from '../system/lib/server.mjs';
import { until } from '../system/lib/until.mjs';

/**
 * @typedef {object} ClusterOptions
 * @property {string} [folder] for data and logs, kept; default: a temporary one, gone at the end
 * @property {number} [nodesCount] 3
 * @property {number} [natsCount] 3; 0: the nodes know nothing of one another
 * @property {'postgresql'|'mongodb'|'sqlite'|'memory'} [store] postgresql; the last two are each node's own
 * @property {import('../system/lib/server.mjs').ServerOptions['store']} [storeMade] a store that is there already
 * @property {string} [busUrl] what the nodes take for --bus, instead of the NATS servers
 * @property {boolean} [cuttable] between each node and store and bus stands a proxy that can take the network away
 * @property {boolean} [fast] see Postgres
 * @property {boolean} [standby] PostgreSQL gets a synchronous standby
 * @property {string} [host]
 * @property {number} [port] of the balancer; default: a free one
 * @property {string[]} [args] of each node
 * @property {Record<string, string>} [env]
 * @property {string} [binary]
 * @property {boolean} [logFiles] also keep each node's log in the folder
 */

export class Cluster {
  /** @type {import('./nats.mjs').NatsServer[]} */ nats = [];
  /** @type {Postgres|undefined} */ postgres;
  /** @type {Postgres|undefined} */ standby;
  /** @type {Mongo|undefined} */ mongo;
  /** @type {Server[]} */ nodes = [];
  /** @type {Haproxy|undefined} */ haproxy;
  /** Of the database in the store. */ database = '';
  /** What stands between node i and its store (each of its servers), and its bus. @type {{store: FaultProxy[], bus: FaultProxy[]}[]} */
  cuts = [];

  /** @param {ClusterOptions} options */
  constructor(options) {
    this.options = { nodesCount: 3, natsCount: 3, store: 'postgresql', ...options };
    this.#owned = options.folder === undefined;
    this.folder = options.folder ?? temporaryFolder('cluster');
    mkdirSync(this.folder, { recursive: true });
  }
  #owned;

  /** @param {ClusterOptions} options @returns {Promise<Cluster>} one that serves */
  static async start(options = {}) {
    const cluster = new Cluster(options);
    try {
      await cluster.start();
    } catch (error) {
      await cluster.stop().catch(() => {});
      throw error;
    }
    return cluster;
  }

  /** Bus and store at once, then the nodes, then the balancer. */
  async start() {
    const { natsCount } = this.options;
    await Promise.all([
      this.#startStore(),
      natsCount > 0 ? startNats({ count: natsCount, folder: this.folder }).then((servers) => { this.nats = servers; }) : undefined,
    ]);
    await this.startNodes();
  }

  async #startStore() {
    const { store, storeMade, fast, standby } = this.options;
    if (storeMade || store === 'memory' || store === 'sqlite') return;
    if (store === 'mongodb') {
      this.mongo = await Mongo.start({ folder: this.folder });
      this.database = this.#owned ? this.mongo.database() : 'tertulia';
      return;
    }
    this.postgres = await Postgres.start({ folder: this.folder, fast });
    this.database = await this.postgres.database('tertulia');
    if (standby) this.standby = await this.postgres.startStandby();
  }

  /** What node i is given; nothing: it has SQLite in its own directory. */
  async #storeOf(i) {
    const { storeMade, store, cuttable } = this.options;
    if (storeMade) return storeMade;
    if (store === 'sqlite') return undefined;
    if (store === 'memory') return { url: 'memory', read: () => Promise.reject(new Error('nobody reads memory')) };
    const read = () => this.readStore();
    if (!cuttable) return { url: this.storeUrl, read };
    const ports = this.mongo ? [this.mongo.port] : [this.postgres?.port ?? 0, ...(this.standby ? [this.standby.port] : [])];
    const proxies = await Promise.all(ports.map((port) => FaultProxy.start({ port })));
    this.cuts[i].store = proxies;
    return { url: this.mongo?.url(this.database, `127.0.0.1:${proxies[0].port}`) ?? this.postgres?.url(this.database, proxies) ?? '', read };
  }
  async #busOf(i) {
    const { busUrl, cuttable } = this.options;
    if (busUrl || this.nats.length === 0) return busUrl;
    if (!cuttable) return natsUrl(this.nats);
    this.cuts[i].bus = await Promise.all(this.nats.map(({ port }) => FaultProxy.start({ port })));
    return natsUrl(this.cuts[i].bus);
  }
  /** What --store takes, with all of its servers and nothing in between. */
  get storeUrl() {
    const servers = this.postgres && this.standby ? [this.postgres, this.standby] : undefined;
    return this.postgres?.url(this.database, servers) ?? this.mongo?.url(this.database) ?? '';
  }

  async startNodes() {
    const { nodesCount, args = [], env, binary, logFiles, host, port } = this.options;
    for (let i = 0; i < nodesCount; ++i) {
      this.cuts.push({ store: [], bus: [] });
      const shards = args.includes('--shards') ? [] : ['--shards', '1'];
      const dataDir = join(this.folder, `node${i + 1}`);
      this.nodes.push(new Server({
        binary, env, dataDir, bus: await this.#busOf(i), store: await this.#storeOf(i), args: ['--trusted-proxies', '127.0.0.1/32', ...shards, ...args],
        ...(logFiles ? { logFile: join(this.folder, `node${i + 1}.log`) } : {}),
      }));
    }
    await Promise.all(this.nodes.map((node) => node.start()));
    this.haproxy = await Haproxy.start({
      folder: this.folder, host, port,
      nodes: this.nodes.map((node, i) => ({ name: `node${i + 1}`, port: node.port, internalPort: node.internalPort })),
    });
    await this.allUp();
  }

  /** Waits until the balancer gives work to all nodes that run. */
  async allUp(withinMs = 20_000) {
    await until('the balancer sees all nodes', async () => {
      const seen = await this.haproxy?.nodes();
      return this.nodes.every((node, i) => !node.running || seen?.get(`node${i + 1}`)?.status === 'UP');
    }, withinMs, async () => [...(await this.haproxy?.nodes() ?? [])]);
  }

  get address() {
    return { host: this.haproxy?.host ?? '', port: this.haproxy?.port ?? 0 };
  }
  get url() {
    return `ws://${this.address.host}:${this.address.port}/chat`;
  }
  get httpUrl() {
    return `http://${this.address.host}:${this.address.port}`;
  }
  /** All that is stored, read from the store itself. @returns {Promise<import('../checker/store.mjs').Store>} */
  async readStore() {
    if (this.mongo) return this.mongo.read(this.database);
    return readPostgres(/** @type {Postgres} */ (this.postgres), this.database);
  }
  /** A metric, summed over the nodes that run. @param {string} name */
  async metric(name) {
    const all = await Promise.all(this.nodes.filter((node) => node.running).map((node) => node.metric(name)));
    return all.reduce((sum, each) => sum + each, 0);
  }

  /** Everything ends: people first, so that nobody sees the store go. */
  async stop() {
    await this.haproxy?.kill();
    await Promise.all(this.nodes.map((node) => (node.running ? node.kill() : undefined)));
    await Promise.all([this.standby?.stop(), this.postgres?.stop(), this.mongo?.stop(), ...this.nats.map((server) => server.kill())]);
    for (const { store, bus } of this.cuts) for (const proxy of [...store, ...bus]) proxy.close();
    if (this.#owned) removeFolder(this.folder);
  }

  /** The primary dies for good and its standby takes over; then the dead one's place has a synchronous standby again. */
  async failOver() {
    const [dead, next] = [this.postgres, this.standby];
    if (!dead || !next) throw new Error('there is no standby to promote');
    await dead.crash();
    await next.promote();
    [this.postgres, this.standby] = [next, undefined];
    this.standby = await next.startStandby(dead);
  }

  /** The error, with the ends of all logs in its message. @param {any} error */
  explain(error) {
    for (const node of this.nodes) node.explain(error);
    for (const program of [this.haproxy, this.postgres, this.standby, this.mongo?.program, ...this.nats]) program?.explain(error);
    return error;
  }
}
