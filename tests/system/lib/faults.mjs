// What happens to a cluster in the chaos test: each fault is done, undone, and proves that it really was one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as pass } from 'node:timers/promises';
import { until } from './until.mjs';

/** @typedef {import('../../cluster/cluster.mjs').Cluster} Cluster */
/** @typedef {ReturnType<typeof import('./random.mjs').random>} Chance */

/** Of a process, as the kernel tells it: R, S, T (stopped) … @param {number|undefined} pid */
function processState(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '')[0];
  } catch {
    return '';  // gone
  }
}

export class Faults {
  /** How often each really happened. @type {Map<string, number>} */ done = new Map();
  /** Nodes that something is done to just now. @type {Set<number>} */ #busy = new Set();
  /** Is something done to the store, or to the bus, just now? */ #storeBusy = false;
  #busBusy = false;

  /**
   * @param {Cluster} cluster
   * @param {{chance: Chance, tell: (what: string) => void, leaseMs: number}} options leaseMs: who is frozen or cut off
   *   from the store for longer has lost his
   */
  constructor(cluster, { chance, tell, leaseMs }) {
    this.cluster = cluster;
    this.leaseMs = leaseMs;
    this.chance = chance;
    this.tell = tell;
  }

  /** All kinds that this cluster can have. @returns {[string, () => Promise<void>][]} */
  get kinds() {
    const { postgres, standby } = this.cluster;
    return [
      ['node killed', () => this.#node((i) => this.killNode(i))],
      ['node killed', () => this.#node((i) => this.killNode(i))],
      ['node killed', () => this.#node((i) => this.killNode(i))],
      ['node frozen for longer than its lease', () => this.#node((i) => this.freezeNode(i))],
      ['node cut off from the bus, there', () => this.#node((i) => this.cut(i, 'bus', ['there']))],
      ['node cut off from the bus, back', () => this.#node((i) => this.cut(i, 'bus', ['back']))],
      ['node cut off from the bus, both ways', () => this.#node((i) => this.cut(i, 'bus', ['there', 'back']))],
      ['node cut off from the store, there', () => this.#node((i) => this.cut(i, 'store', ['there']))],
      ['node cut off from the store, back', () => this.#node((i) => this.cut(i, 'store', ['back']))],
      ['node cut off from the store, both ways', () => this.#node((i) => this.cut(i, 'store', ['there', 'back']))],
      ['NATS server killed', () => this.#bus(() => this.killNats())],
      ['NATS server frozen', () => this.#bus(() => this.freezeNats())],
      ...(postgres ? /** @type {[string, () => Promise<void>][]} */ ([['store restarted', () => this.#store(() => this.restartStore())]]) : []),
      ...(standby ? /** @type {[string, () => Promise<void>][]} */ ([['standby frozen, and the primary ended meanwhile', () => this.#store(() => this.freezeStandby())]]) : []),
    ];
  }

  #count(what) {
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
  }
  async #node(what) {
    const { nodes } = this.cluster;
    // Two of three at a time, or everybody mostly waits.
    if (this.#busy.size >= nodes.length - 1) return;
    const free = nodes.map((_, i) => i).filter((i) => !this.#busy.has(i));
    const i = free[this.chance.below(free.length)];
    this.#busy.add(i);
    await what(i);
    this.#busy.delete(i);
  }
  async #store(what) {
    if (this.#storeBusy) return;
    this.#storeBusy = true;
    await what();
    this.#storeBusy = false;
  }
  async #bus(what) {
    if (this.#busBusy) return;
    this.#busBusy = true;
    await what();
    this.#busBusy = false;
  }

  async killNode(i) {
    const node = this.cluster.nodes[i];
    const { pid } = node;
    this.tell(`node${i + 1} is killed`);
    assert.equal((await node.kill()).signal, 'SIGKILL');
    assert.equal(processState(pid), '', 'it is gone');
    await pass(this.chance.between(200, 3_000));
    await node.start();
    assert.notEqual(node.pid, pid);
    this.#count('node killed');
  }

  async freezeNode(i) {
    const node = this.cluster.nodes[i];
    const ms = this.leaseMs + this.chance.between(1_000, 4_000);
    this.tell(`node${i + 1} is frozen for ${Math.round(ms)} ms`);
    node.signal('SIGSTOP');
    await until('it is frozen', () => processState(node.pid) === 'T');
    await pass(ms);
    assert.equal(processState(node.pid), 'T', 'it was frozen all the time');
    node.signal('SIGCONT');
    await until('it goes on', () => !['T', ''].includes(processState(node.pid)));
    this.#count('node frozen for longer than its lease');
  }

  /** @param {number} i @param {'bus'|'store'} what @param {import('../../cluster/fault_proxy.mjs').Way[]} ways */
  async cut(i, what, ways) {
    const proxies = this.cluster.cuts[i][what];
    const ms = this.chance.between(1_500, this.leaseMs + 3_000);
    const late = this.chance.below(2) === 1;
    this.tell(`node${i + 1} is cut off from the ${what}, ${ways.join(' and ')}, for ${Math.round(ms)} ms; what waits comes ${late ? 'late' : 'never'}`);
    const held = () => proxies.reduce((sum, proxy) => sum + proxy.held, 0);
    const passed = () => proxies.map((proxy) => ways.map((way) => proxy.passed[way])).flat().reduce((a, b) => a + b, 0);
    for (const proxy of proxies) proxy.shut(ways);
    const before = passed(), heldBefore = held();
    await pass(ms);
    assert.equal(passed(), before, 'nothing got through');
    // There was somebody to be held up: a connection, or an attempt at one.
    assert.ok(held() > heldBefore || proxies.some((proxy) => proxy.connections > 0), 'there was nothing to cut');
    for (const proxy of proxies) proxy.heal({ late });
    this.#count(`node cut off from the ${what}, ${ways.length === 2 ? 'both ways' : ways[0]}`);
  }

  async killNats() {
    const { nats } = this.cluster;
    const server = nats[this.chance.below(nats.length)];
    this.tell(`${server.name} is killed`);
    assert.equal((await server.kill()).signal, 'SIGKILL');
    await pass(this.chance.between(500, 4_000));
    await server.start();
    this.#count('NATS server killed');
  }

  async freezeNats() {
    const { nats } = this.cluster;
    const server = nats[this.chance.below(nats.length)];
    const ms = this.chance.between(1_500, 6_000);
    this.tell(`${server.name} is frozen for ${Math.round(ms)} ms`);
    server.pause();
    await until('it is frozen', () => processState(server.pid) === 'T');
    await pass(ms);
    server.resume();
    this.#count('NATS server frozen');
  }

  async restartStore() {
    const { postgres } = this.cluster;
    const { pid } = postgres ?? {};
    if (this.chance.below(2) === 0) {
      this.tell('PostgreSQL crashes');
      await postgres?.crash();
    } else {
      this.tell('PostgreSQL is restarted');
      await postgres?.stop();
    }
    assert.equal(processState(pid), '', 'it is gone');
    await pass(this.chance.between(0, 3_000));
    await postgres?.start();
    assert.notEqual(postgres?.pid, pid);
    this.#count('store restarted');
  }

  /** Commits wait for the standby; then the primary ends, and those that waited are answered with a warning, or not at all. */
  async freezeStandby() {
    const { postgres, standby } = this.cluster;
    this.tell('the standby is frozen, and then PostgreSQL is restarted');
    // All of it: what receives the log is a process of its own.
    const pids = standby?.processes() ?? [];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    /** @type {number[]} */ let waiting = [];
    const somebodyWaits = async () => {
      const lines = await postgres?.query(`SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'`, { database: 'postgres' });
      waiting = (lines ?? '').split('\n').filter((line) => line !== '').map(Number);
      return waiting.length > 0;
    };
    let ended;
    try {
      await until('a commit waits for the standby', somebodyWaits);
      await pass(this.chance.between(500, 2_000));
      await until('a commit waits for the standby just now', somebodyWaits);
      ended = postgres?.stop();
      // It ends these waits at once, and then would itself wait for the standby to have its log.
      await until('nobody waits for the standby any more', () => waiting.every((each) => processState(each) === ''));
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    await ended;
    await postgres?.start();
    this.#count('standby frozen, and the primary ended meanwhile');
  }

  /** The primary dies for good, its standby takes over, and gets a standby of its own. Nothing else may be done to them. */
  async failOver() {
    await this.#store(async () => {
      this.tell('PostgreSQL dies, and its standby takes over');
      const before = this.cluster.postgres;
      await this.cluster.failOver();
      assert.notEqual(this.cluster.postgres, before);
      assert.equal(await this.cluster.postgres?.query('SELECT pg_is_in_recovery()', { database: 'postgres' }), 'f');
      this.#count('standby promoted');
    });
  }
}
