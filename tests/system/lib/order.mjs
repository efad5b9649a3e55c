// The promises about order and number, asked of what clients heard.
import assert from 'node:assert/strict';

/**
 * Each message is the next after the one before.
 * @param {{sequence: number}[]} messages as they came on one connection
 * @param {number} [first] what the first must be
 */
export function assertDense(messages, first) {
  let last = first === undefined ? undefined : first - 1;
  for (const { sequence } of messages) {
    if (last !== undefined) assert.equal(sequence, last + 1, `${sequence} came after ${last}`);
    last = sequence;
  }
}

/**
 * Nobody hears another message at a sequence than the others.
 * @param {{sequence: number, _id: string, params: {uuid: string}}[][]} logs
 */
export function assertOneLog(...logs) {
  const bySequence = new Map();
  for (const log of logs) {
    for (const message of log) {
      const known = bySequence.get(message.sequence);
      if (known === undefined) bySequence.set(message.sequence, message);
      else assert.deepEqual([message._id, message.params.uuid], [known._id, known.params.uuid]);
    }
  }
}

/**
 * What a classic client heard of a room is dense on each of its connections, but for repeats of its own messages from
 * before the place where delivery began there.
 * @param {import('./classic.mjs').ClassicClient} client @param {string} roomName
 */
export function assertClassicOrder(client, roomName) {
  const bySocket = new Map();
  for (const { socket, push } of client.events) {
    if (push.params.roomName !== roomName) continue;
    if (!bySocket.has(socket)) bySocket.set(socket, []);
    bySocket.get(socket).push(push);
  }
  for (const [socket, pushes] of bySocket) {
    let last;
    let onlyOwn = true;
    for (const push of pushes) {
      const own = push.params.userId === client.userId;
      if (last !== undefined && push.sequence !== last + 1) {
        // A repeat behind delivery is passed over; repeats in front of it are where delivery did not begin yet.
        if (own && push.sequence <= last) continue;
        assert.ok(onlyOwn && push.sequence > last, `${client.userName}, socket ${socket}: ${push.sequence} came after ${last}`);
      }
      onlyOwn &&= own;
      last = push.sequence;
    }
  }
}

/** Own messages stand in the order sent. @param {{sequence: number}[]} acked in the order sent */
export function assertAscending(acked) {
  for (let i = 1; i < acked.length; ++i) assert.ok(acked[i].sequence > acked[i - 1].sequence, `message ${i} stands before the one sent before it`);
}
