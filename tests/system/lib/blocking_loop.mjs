// A worker: classic clients whose script blocks. It joins with all of them, then, in one loop that never returns to the
// event loop, lets each in turn send a message, rewriting all it has sent so far; nothing is read and no pong sent
// meanwhile. Only when the loop has ended it reads, and waits until everything is acked and heard.
import { parentPort, workerData } from 'node:worker_threads';
import { ClassicClient } from './classic.mjs';
import { assertClassicOrder, assertAscending } from './order.mjs';
import { until } from './until.mjs';

/**
 * @typedef {object} Loop
 * @property {{host: string, port: number}} address
 * @property {string} roomName
 * @property {string[]} userNames
 * @property {number} messagesEach
 * @property {number} intervalMs between two messages of whomever
 * @property {number} textBytes
 * @property {number} [silentMs] the loop goes on for so long without writing anything
 * @property {number} settleWithinMs for everything after the loop
 * @property {number} [reconnectAfterMs]
 * @property {number} [closesExpected] each is closed so often for its silence, and says one more thing when it is back
 */
const loop = /** @type {Loop} */ (workerData);
const asleep = new Int32Array(new SharedArrayBuffer(4));
const block = (/** @type {number} */ ms) => Atomics.wait(asleep, 0, 0, ms);

const clients = loop.userNames.map((userName) =>
  new ClassicClient({ address: loop.address, userName, reconnectAfterMs: loop.reconnectAfterMs }));
for (const client of clients) {
  await client.isConnected();
  await client.joinRoom(loop.roomName);
}
await until('everybody has heard of everybody', () => clients[0].newUsers.length === clients.length);

const begun = performance.now();
let sent = 0;
let framesWritten = 0;
for (let i = 0; i < loop.messagesEach; ++i) {
  for (const client of clients) {
    client.sendText(`${client.userName} ${i} `.padEnd(loop.textBytes, '.'));
    framesWritten += i + 1;
    const due = begun + ++sent * loop.intervalMs;
    if (due > performance.now()) block(due - performance.now());
  }
}
if (loop.silentMs) block(loop.silentMs);
const blockedMs = performance.now() - begun;
parentPort?.postMessage({ looped: true });
block(50);  // until that is known

if (loop.closesExpected) {
  for (const client of clients) {
    await until(`${client.userName} is back`, () => client.closes.length >= (loop.closesExpected ?? 0) && client.connected);
    client.sendText('back again');
  }
}
for (const client of clients) await client.allAcked(loop.settleWithinMs);
const total = clients.length * (loop.messagesEach + (loop.closesExpected ? 1 : 0));
for (const client of clients) {
  await until(`${client.userName} has heard everything`, () => client.heard(loop.roomName).length === total,
    loop.settleWithinMs, () => ({ heard: client.heard(loop.roomName).length, of: total, closes: client.closes }));
}
for (const client of clients) {
  assertClassicOrder(client, loop.roomName);
  assertAscending(client.ackedIn(loop.roomName));
}
parentPort?.postMessage({
  blockedMs,
  framesWritten,
  users: clients.map((client) => ({
    userName: client.userName,
    acked: client.acked.length,
    heard: client.heard(loop.roomName).map((push) => push._id),
    texts: client.heard(loop.roomName).map((push) => push.params.text.trimEnd()),
    closes: client.closes,
    errors: client.errors,
    violations: client.violations,
    open: client.open.size,
  })),
});
await Promise.all(clients.map((client) => client.stop()));
