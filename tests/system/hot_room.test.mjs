// Promise 2 under load: one hot room over both shards, and then catch-up of all of it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { check, told } from '../checker/checker.mjs';
import { texts } from './lib/member.mjs';
import { long, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { startPosition } from './lib/v2.mjs';
import { WebSocketPeer } from './lib/websocket.mjs';

const room = 'hot';
const sendersCount = 8;
const eachCount = long ? 20_000 : 2_500;
const readersCount = 6;
/** Of a member who is behind: `--long` has a log of 160,000. */
const behindCount = long ? 50_000 : sendersCount * eachCount;

/** A member who keeps nothing but what the first of them to hear it kept: one log for all, to which each must agree. */
class Listener {
  at = 0;
  answered = 0;
  live = 0;
  /** @type {Error|undefined} */ wrong;
  /** @param {WebSocketPeer} peer @param {{_id: string, uuid: string}[]} log */
  constructor(peer, log) {
    this.peer = peer;
    this.log = log;
    this.acks = [];
    peer.on('text', (text) => {
      try {
        this.#take(JSON.parse(text));
      } catch (error) {
        this.wrong ??= error;
      }
    });
    peer.on('close', ({ code }) => { this.wrong ??= new Error(`closed with ${code}`); });
  }
  static async come(server, log, name, at = 0, position = startPosition(room)) {
    const listener = new Listener(await WebSocketPeer.connect({ ...server.address, protocol: 'tertulia.v2' }), log);
    listener.name = name;
    listener.join(at, position);
    await until('it is in', () => listener.live === 1);
    return listener;
  }
  /** Joins, or moves its cursor: what comes next is the message after `at`. */
  join(at, position) {
    this.at = at;
    this.live = 0;
    this.peer.send(JSON.stringify({ jsonrpc: '2.0', method: 'joinRoom', id: 'join',
      params: { roomName: room, userName: this.name, lastMessageId: position } }));
  }
  #take(frame) {
    if (frame.method === 'textMessage') {
      const { sequence, _id, params: { uuid } } = frame;
      assert.equal(sequence, this.at + 1, 'not the next');
      this.at = sequence;
      const known = this.log[sequence];
      if (known === undefined) this.log[sequence] = { _id, uuid };
      else assert.deepEqual({ _id, uuid }, known, `another message at ${sequence}`);
    } else if (frame.method === 'live') {
      assert.equal(frame.params.sequence, this.at, '`live` is not in its place');
      ++this.live;
    } else if (frame.method === undefined && frame.id !== 'join') {
      assert.equal(frame.error, undefined);
      assert.equal(frame.id, this.acks.length, 'answered out of order');
      this.acks.push(frame.result._id);
    } else {
      assert.equal(frame.error, undefined);
    }
  }
  async reaches(sequence, withinMs) {
    await until(`${sequence} is reached`, () => {
      if (this.wrong) throw this.wrong;
      return this.at >= sequence;
    }, withinMs, () => this.at);
  }
}

test(`${sendersCount} senders over both shards, ${eachCount} messages each: one dense log for all, and for who catches up`, async (t) => {
  await withServer({ args: ['--rate-limits', 'off', '--shards', '2'] }, async (server) => {
    /** @type {{_id: string, uuid: string}[]} */ const log = [];
    const total = sendersCount * eachCount;
    const withinMs = long ? 600_000 : 60_000;
    const senders = [];
    // One after the other, so that the shards share them evenly.
    for (let i = 0; i < sendersCount; ++i) senders.push(await Listener.come(server, log, `Sender ${i}`));

    const said = senders.map((_, i) => texts(room, eachCount, `${i}:`).map(([, params]) => params));
    await t.test('all hear the same', async () => {
      senders.forEach(({ peer }, i) =>
        peer.sendAll(said[i].map((params, id) => JSON.stringify({ jsonrpc: '2.0', method: 'textMessage', params, id }))));
      await Promise.all(senders.map((sender) => sender.reaches(total, withinMs)));
      await until('all are acked', () => senders.every(({ acks }) => acks.length === eachCount), withinMs);
      for (const [i, { acks }] of senders.entries()) {
        const mine = log.flatMap(({ _id, uuid }) => (own(said, i).has(uuid) ? [[_id, uuid]] : []));
        assert.deepEqual(mine, said[i].map(({ uuid }, at) => [acks[at], uuid]), `sender ${i}: in the order sent, where the acks say`);
      }
      // Both shards had a part in it: more than one batch was on its way at a time, or this proves little.
      const metrics = await server.metrics();
      assert.equal(metrics.get('tertulia_rooms'), 2, 'the room is on both shards');
    });

    await t.test(`${readersCount} who are ${behindCount} behind catch up while others write, and share what is read for them`, async () => {
      const from = total - behindCount;
      const position = log[from]?._id ?? startPosition(room);
      const reads = () => server.metric('tertulia_catch_up_reads_total');
      const readsBefore = await reads();
      await (await Listener.come(server, log, 'Alone', from, position)).reaches(total, withinMs);
      const aloneCount = (await reads()) - readsBefore;
      // All begin at the same moment, so that they have something to share.
      const readers = [];
      for (let i = 0; i < readersCount; ++i) readers.push(await Listener.come(server, log, `Reader ${i}`, total, log[total]._id));
      for (const reader of readers) reader.join(from, position);
      const more = texts(room, 200, 'more').map(([, params]) => params);
      senders[0].peer.sendAll(more.map((params, i) => JSON.stringify({ jsonrpc: '2.0', method: 'textMessage', params, id: eachCount + i })));
      await Promise.all([...readers, ...senders].map((member) => member.reaches(total + 200, withinMs)));
      for (const reader of readers) assert.equal(reader.live, 1);
      // Each shard reads for itself; whoever falls far behind the others reads again.
      const togetherCount = (await reads()) - readsBefore - aloneCount;
      console.log(`# pages read for one: ${aloneCount}, for ${readersCount}: ${togetherCount}`);
      assert.ok(aloneCount >= 10, 'they were behind what is in memory');
      assert.ok(togetherCount < readersCount * aloneCount * 0.7, `${togetherCount} pages for ${readersCount}, ${aloneCount} for one`);
      said[0].push(...more);
    });

    await t.test('the chains are those of the store', async () => {
      for (const { peer } of senders) peer.cut();
      await server.kill();
      const store = await server.readStore();
      const findings = check(store, [], { strangers: true });
      assert.equal(findings.length, 0, told(findings));
      const rows = store.get(room);
      assert.equal(rows.length, total + 200);
      for (const { sequence, chain, uuid } of rows) assert.deepEqual(log[sequence], { _id: `${sequence}-${chain}`, uuid });
    });
  });
});

const ownSets = new Map();
/** The uuids of one sender. */
function own(said, i) {
  if (!ownSets.has(i)) ownSets.set(i, new Set(said[i].map(({ uuid }) => uuid)));
  return ownSets.get(i);
}
