// The proxy that takes the network away does so in the direction asked, and nothing else.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { FaultProxy } from './fault_proxy.mjs';
import { until } from '../system/lib/until.mjs';

/** Answers every word with the same word, and keeps what it was told. */
async function withEcho(body) {
  /** @type {string[]} */ const told = [];
  let closed = 0;
  const server = net.createServer((socket) => {
    socket.on('data', (bytes) => { told.push(String(bytes)); socket.write(bytes); });
    socket.on('close', () => { ++closed; }).on('error', () => {});
  });
  await new Promise((done) => { server.listen(0, '127.0.0.1', () => done(undefined)); });
  const proxy = await FaultProxy.start({ port: /** @type {net.AddressInfo} */ (server.address()).port });
  const come = () => {
    /** @type {string[]} */ const heard = [];
    const socket = net.connect(proxy.port, '127.0.0.1');
    socket.on('data', (bytes) => heard.push(String(bytes))).on('error', () => {});
    return { socket, heard };
  };
  const speaker = come();
  speaker.socket.write('first');
  await until('the first word has come back', () => speaker.heard.join('') === 'first');
  try {
    await body({ proxy, told, speaker, come, closed: () => closed });
  } finally {
    speaker.socket.destroy();
    proxy.close();
    server.close();
  }
}
/** What was sent before is at the proxy: something that came later has got there by the way that is open. */
const settled = (proxy) => until('the proxy has what was sent', () => new Promise((done) => {
  const probe = net.connect(proxy.port, '127.0.0.1', () => { probe.destroy(); setImmediate(() => done(true)); });
}));

test('what is said while the way there is shut comes late', () => withEcho(async ({ proxy, told, speaker }) => {
  proxy.shut(['there']);
  speaker.socket.write('second');
  await settled(proxy);
  assert.deepEqual(told, ['first']);
  assert.ok(proxy.held > 0);
  proxy.heal({ late: true });
  await until('it has come back', () => speaker.heard.join('') === 'firstsecond');
}));

test('with the way back shut the server hears, and its answer comes late', () => withEcho(async ({ proxy, told, speaker }) => {
  proxy.shut(['back']);
  speaker.socket.write('second');
  await until('the server has heard', () => told.join('') === 'firstsecond');
  await settled(proxy);
  assert.deepEqual(speaker.heard, ['first']);
  proxy.heal({ late: true });
  await until('the answer has come', () => speaker.heard.join('') === 'firstsecond');
}));

test('whoever ends or comes while both ways are shut is heard of after healing, with all that he said', () =>
  withEcho(async ({ proxy, told, speaker, come, closed }) => {
    proxy.shut(['there', 'back']);
    speaker.socket.end('last');
    const other = come();
    other.socket.write('new');
    await settled(proxy);
    assert.deepEqual(told, ['first']);
    assert.equal(closed(), 0);
    proxy.heal({ late: true });
    await until('both were heard, and the first has gone', () => told.includes('last') && told.includes('new') && closed() >= 1);
    other.socket.destroy();
  }));

test('what waits when a connection is cut never comes', () => withEcho(async ({ proxy, told, speaker, come }) => {
  proxy.shut(['there']);
  speaker.socket.write('never');
  await settled(proxy);
  proxy.heal({ late: false });
  await until('it is cut', () => speaker.socket.destroyed);
  const other = come();
  other.socket.write('later');
  await until('the next is heard', () => told.includes('later'));
  assert.ok(!told.includes('never'));
  assert.ok(proxy.cut > 0);
  other.socket.destroy();
}));
