// A v2 client that keeps everything it was told in one order, answers included, and can write many requests in one
// breath: for tests of what stands before what.
import { randomUUID } from 'node:crypto';
import { V2Client } from './v2.mjs';
import { until } from './until.mjs';
import { WebSocketPeer } from './websocket.mjs';

let bursts = 0;

export class Member extends V2Client {
  /** @param {WebSocketPeer} peer */
  constructor(peer) {
    super(peer);
    /** Every frame, in order. @type {any[]} */ this.all = [];
    /** What was asked under each id. @type {Map<unknown, {method: string, params: any}>} */ this.asked = new Map();
    peer.on('text', (text) => this.all.push(JSON.parse(text)));
  }

  /** @param {string} method @param {object} [params] */
  call(method, params = {}) {
    const answer = super.call(method, params);
    this.asked.set(this.lastId, { method, params });
    return answer;
  }

  /** @param {{host?: string, port: number, localAddress?: string, autoPong?: boolean}} to */
  static async connect(to) {
    return new Member(await WebSocketPeer.connect({ ...to, protocol: 'tertulia.v2' }));
  }

  /**
   * Writes requests in one write; does not wait.
   * @param {[method: string, params: object][]} requests
   * @returns {string[]} their ids, for answersTo()
   */
  burst(requests) {
    const burst = ++bursts;
    const ids = requests.map((_, i) => `burst ${burst}, ${i}`);
    requests.forEach(([method, params], i) => this.asked.set(ids[i], { method, params }));
    this.peer.sendAll(requests.map(([method, params], i) => JSON.stringify({ jsonrpc: '2.0', method, params, id: ids[i] })));
    return ids;
  }

  /**
   * Waits until all are answered. @param {string[]} ids
   * @returns {Promise<any[]>} the answers in the order in which they came
   */
  async answersTo(ids, withinMs = 30_000) {
    const wanted = new Set(ids);
    /** @type {any[]} */ const found = [];
    let looked = 0;
    await until(`${ids.length} requests are answered`, () => {
      for (; looked < this.answers.length; ++looked) if (wanted.has(this.answers[looked].id)) found.push(this.answers[looked]);
      return found.length >= ids.length;
    }, withinMs, () => ({ answered: found.length }));
    return found;
  }

  /** Waits for frames behind `from` in `all`. @param {number} from @param {(frame: any) => boolean} last */
  async hearsUpTo(from, last, withinMs = 20_000) {
    let at = from;
    await until('the last of it is heard', () => {
      while (at < this.all.length) if (last(this.all[at++])) return true;
      return false;
    }, withinMs, () => this.all.slice(-3));
    return this.all.slice(from, at);
  }
}

/** @param {string} roomName @param {number} count @param {string} what @returns {[string, object][]} texts for burst() */
export function texts(roomName, count, what = 'text') {
  return Array.from({ length: count }, (_, i) => ['textMessage', { roomName, text: `${what} ${i + 1}`, uuid: randomUUID(), date: '' }]);
}

/**
 * Says them and waits for their acks. @param {Member} member @param {string} roomName @param {number} count
 * @returns {Promise<string[]>} their positions, in order
 */
export async function fill(member, roomName, count, what = 'text') {
  const positions = [];
  for (let left = count; left > 0; left -= 500) {
    const answers = await member.answersTo(member.burst(texts(roomName, Math.min(left, 500), what)), 60_000);
    for (const { error, result } of answers) {
      if (error) throw new Error(JSON.stringify(error));
      positions.push(result._id);
    }
  }
  return positions;
}

/** The answer to an upgrade that must not be taken: its status and head. */
export async function refusedUpgrade(address) {
  const peer = await WebSocketPeer.connect({ ...address, protocol: 'tertulia.v2' }).catch((error) => error);
  if (!(peer instanceof WebSocketPeer)) return { status: peer.status ?? String(peer), head: peer.head ?? '' };
  peer.cut();
  return { status: 101, head: '' };
}
