// What an operator does: starts, stops, drains, reloads, copies and watches a node.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { allQuiet, LibraryPerson } from './lib/people.mjs';
import { freePort, get, releasedBinary, Server, withServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { HandshakeError, WebSocketPeer } from './lib/websocket.mjs';

/** Runs a command of the server to its end. @returns {Promise<{code: number, out: string, err: string}>} */
const command = (...args) => new Promise((done) => {
  execFile(releasedBinary, args, { timeout: 30_000 }, (error, out, err) => done({ code: error?.code ?? 0, out, err }));
});

/** A directory that is gone after the test. */
function directory(context) {
  const made = mkdtempSync(join(tmpdir(), 'tertulia-operating-'));
  context.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Joins as an existing client does and returns the texts of the history it is given. */
async function classicHistory(server, room, count) {
  const peer = await WebSocketPeer.connect(server.address);
  const heard = [];
  peer.on('text', (text) => heard.push(JSON.parse(text)));
  const params = { userId: 'operator', userName: 'Operator', roomName: room, lastMessageId: null };
  peer.send(JSON.stringify({ jsonrpc: '2.0', method: 'joinRoom', params, id: 1 }));
  const texts = () => heard.filter(({ method }) => method === 'textMessage').map(({ params: { text } }) => text);
  // The newest is the last of the history.
  // Just after a start names are kept for those who return, and the operator waits as a newcomer.
  await until('the history has come', () => texts().at(-1) === `text ${count}`, 30_000, texts);
  peer.close();
  return texts();
}

const post = (url, headers = {}) => new Promise((done, failed) => {
  http.request(url, { method: 'POST', agent: false, headers }, (response) => {
    response.resume().on('end', () => done(response.statusCode));
  }).on('error', failed).end();
});

/** The answer to an upgrade: 101, or what it got instead. */
const upgrade = (server) => WebSocketPeer.connect(server.address).then(
  (peer) => { peer.cut(); return 101; },
  (error) => { if (error instanceof HandshakeError) return error.status; throw error; });

test('SIGTERM: not ready at once, upgrades are refused, members come back after the restart and miss nothing', async () => {
  await withServer({ args: ['--drain-window', '1s'] }, async (server) => {
    const people = ['Ana', 'Ben'].map((name) => new LibraryPerson({ url: server.url, room: 'drained', name }));
    await Promise.all(people.map((person) => person.come()));
    people[0].say('before');
    await allQuiet(people);
    assert.equal((await get(`${server.internalUrl}/readyz`)).status, 200);

    const marks = people.map((person) => person.mark());
    server.signal('SIGTERM');
    await until('it is not ready', async () => (await get(`${server.internalUrl}/readyz`)).status === 503);
    assert.equal((await get(`${server.internalUrl}/healthz`)).status, 200);
    assert.equal((await get(`${server.httpUrl}/`)).status, 200, 'the page is served to the end');
    assert.equal(await upgrade(server), 503);
    people[1].say('while it leaves');
    assert.deepEqual(await server.ended, { code: 0, signal: null });
    people[0].say('while it is away');

    await server.start();
    await until('both are back', () => people.every((person, i) => person.isBack(marks[i])), 30_000, () => people.map((p) => p.tell()));
    await allQuiet(people);
    for (const person of people) {
      const texts = person.story.events.filter(({ kind }) => kind === 'saw').map(({ message }) => message.text);
      assert.deepEqual([...texts].sort(), ['before', 'while it is away', 'while it leaves'], person.name);
    }
    await Promise.all(people.map((person) => person.go()));
    assert.deepEqual(people.flatMap(({ trouble }) => trouble), []);
  });
});

test('a node that nobody uses leaves at once', async () => {
  await withServer({ args: ['--drain-window', '30s'] }, async (server) => {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  });
});

test('the drain command drains; a SIGTERM behind it is the first; a second ends at once', async () => {
  await withServer({ args: ['--drain-window', '60s'] }, async (server) => {
    const person = new LibraryPerson({ url: server.url, room: 'room', name: 'Ana' });
    await person.come();
    assert.equal(await post(`${server.internalUrl}/drain`, { origin: 'http://evil.example' }), 403, 'no page may');
    assert.equal((await get(`${server.internalUrl}/readyz`)).status, 200);
    const told = await command('drain', '--internal-listen', `127.0.0.1:${server.internalPort}`);
    assert.deepEqual([told.code, told.err], [0, '']);
    await until('it is leaving', async () => (await get(`${server.internalUrl}/readyz`)).status === 503);
    server.signal('SIGTERM');
    // Two signals that wait together are one.
    await until('it has heard the first', () => server.log.includes('is leaving already'));
    server.signal('SIGTERM');
    assert.deepEqual(await server.ended, { code: 0, signal: null });
    await person.go();
  });
});

test('SIGINT ends at once and what was acked is there afterwards', async () => {
  await withServer({ args: ['--drain-window', '60s'] }, async (server) => {
    const person = new LibraryPerson({ url: server.url, room: 'room', name: 'Ana' });
    await person.come();
    for (let i = 1; i <= 10; ++i) person.say(`text ${i}`);
    await allQuiet([person]);
    assert.deepEqual(await server.interrupt(), { code: 0, signal: null });
    await person.go();
    await server.start();
    assert.equal((await classicHistory(server, 'room', 10)).length, 10);
  });
});

test('a second server on the same data says so and never listens', async () => {
  await withServer({}, async (server) => {
    const port = await freePort();
    const second = await command('serve', '--listen', `127.0.0.1:${port}`, '--internal-listen', '127.0.0.1:0', '--data-dir', server.dataDir);
    assert.equal(second.code, 1);
    assert.match(second.err, new RegExp(`data directory ${server.dataDir} is in use by process ${server.pid}`));
    assert.doesNotMatch(second.out + second.err, /serves on/);
    assert.equal((await get(`${server.httpUrl}/`)).status, 200, 'the first goes on');
  });
});

test('an address in use is told with what to do', async (context) => {
  await withServer({}, async (server) => {
    for (const [option, port] of [['--listen', server.port], ['--internal-listen', server.internalPort]]) {
      const other = option === '--listen' ? '--internal-listen' : '--listen';
      const second = await command('serve', option, `127.0.0.1:${port}`, other, '127.0.0.1:0', '--data-dir', join(directory(context), 'data'));
      assert.equal(second.code, 1);
      assert.match(second.err, new RegExp(`cannot listen on 127.0.0.1:${port} .*Address already in use.*${option} HOST:PORT`));
    }
  });
});

test('SIGHUP takes up the length of the history, and a broken file changes nothing', async (context) => {
  const file = join(directory(context), 'tertulia.toml');
  writeFileSync(file, 'max-messages-history = 5\n');
  await withServer({ args: ['--config', file] }, async (server) => {
    const person = new LibraryPerson({ url: server.url, room: 'room', name: 'Ana' });
    await person.come();
    for (let i = 1; i <= 10; ++i) person.say(`text ${i}`);
    await allQuiet([person]);
    assert.equal((await classicHistory(server, 'room', 10)).length, 5);

    writeFileSync(file, 'max-messages-history = 3\nshards = 7\n');
    server.signal('SIGHUP');
    await until('it is reloaded', () => server.log.includes('configuration reloaded'));
    assert.match(server.log, /need a restart.*shards/);
    await until('the history is shorter', async () => (await classicHistory(server, 'room', 10)).length === 3);

    writeFileSync(file, 'max-messages-history = "many"\n');
    server.signal('SIGHUP');
    await until('it says what is wrong', () => /was not reloaded.*max-messages-history/.test(server.log));
    assert.equal((await classicHistory(server, 'room', 10)).length, 3);
    await person.go();
  });
});

test('a copy made while the server runs is served as it was', async (context) => {
  const copy = join(directory(context), 'copy');
  await withServer({}, async (server) => {
    const person = new LibraryPerson({ url: server.url, room: 'room', name: 'Ana' });
    await person.come();
    for (let i = 1; i <= 10; ++i) person.say(`text ${i}`);
    await allQuiet([person]);
    const made = await command('backup', copy, '--data-dir', server.dataDir);
    assert.deepEqual([made.code, made.err], [0, '']);
    assert.match(made.out, /is complete/);
    const again = await command('backup', copy, '--data-dir', server.dataDir);
    assert.equal(again.code, 1, 'never over something');
    person.say('text 11');
    await allQuiet([person]);
    await person.go();
  });
  const restored = await Server.start({ dataDir: copy });
  try {
    assert.equal((await classicHistory(restored, 'room', 10)).length, 10);
  } finally {
    await restored.kill();
  }
});

test('the metrics that scripts rely on are there and true', async () => {
  await withServer({}, async (server) => {
    const people = ['Ana', 'Ben'].map((name) => new LibraryPerson({ url: server.url, room: 'room', name }));
    await Promise.all(people.map((person) => person.come()));
    for (let i = 0; i < 5; ++i) people[i % 2].say(`text ${i}`);
    await allQuiet(people);
    const metrics = await server.metrics();
    assert.equal(metrics.get('tertulia_sessions'), 2);
    assert.equal(metrics.get('tertulia_members'), 2);
    assert.equal(metrics.get('tertulia_messages_total'), 5);
    assert.equal(metrics.get('tertulia_deliveries_total'), 10);
    assert.equal(metrics.get('tertulia_connections'), 2);
    const commits = metrics.get('tertulia_commits_total');
    assert.ok(commits >= 1 && commits <= 5, `${commits} transactions`);
    // A sanitizer's allocator does not tell.
    if (!process.env.TERTULIA_SANITIZED) assert.ok(metrics.get('tertulia_allocated_bytes') > 100_000);
    await Promise.all(people.map((person) => person.go()));
    await until('they have gone', async () => (await server.metric('tertulia_connections')) === 0);
    assert.equal(await server.metric('tertulia_sessions'), 0);
  });
});

// A killed one cannot tidy up, and what is left bears the number of a process to come.
test('a server that is killed leaves nothing in shared memory', async () => {
  await withServer({}, async (server) => assert.equal(existsSync(`/dev/shm/mongoc-${server.pid}`), false));
});

test('a log that is not read at a terminal is JSON, a line an event', async () => {
  const server = await Server.start();
  try {
    await server.stop();
    const lines = server.log.split('\n').filter((line) => line !== '' && !line.startsWith('---') && !line.startsWith('Tertulia '));
    assert.ok(lines.length >= 3, server.log);
    for (const line of lines) {
      let said = {};
      try { said = JSON.parse(line); } catch { assert.fail(`not JSON: ${line}`); }
      assert.ok(said.time && said.level && said.part && said.event, line);
    }
    assert.match(server.log, new RegExp(`^Tertulia serves on http://127.0.0.1:${server.port}/$`, 'm'));
  } finally {
    await server.remove();
  }
});
