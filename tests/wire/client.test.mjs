// Plays the server of each transcript that names one of its people as the library: the library must ask, frame for frame,
// what stands there, and its promises and events must tell what the server said.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { repository } from '../system/lib/server.mjs';
import { until, within } from '../system/lib/until.mjs';
import { filled, people, transcripts } from './transcript.mjs';

const { Client } = await import(pathToFileURL(join(repository, 'client/dist/index.js')).href);
const { WebSocket, WebSocketServer } = createRequire(join(repository, 'client/package.json'))('ws');

/** A value for each variable: the positions are those of the chain, the others are made up. */
function values(lines) {
  const known = new Map(people);
  for (const name of ['version', 'node', 'next']) known.set(`$${name}`, `some ${name}`);
  const pushes = new Map();
  for (const { json } of lines) if (json?.method === 'textMessage') pushes.set(json.sequence, json);
  for (let n = 1; pushes.has(n); ++n) {
    known.set(`$t${n}`, 1_700_000_000_000 + n);
    const { method, params } = filled(pushes.get(n), known);
    const before = Buffer.from(known.get(`$p${n - 1}`).slice(`${n - 1}-`.length), 'base64url');
    const hash = createHash('sha256').update(before);
    for (const field of [n, method, params.uuid, params.userId, params.userName, params.date, params.sentAt, params.text]) {
      hash.update(`${Buffer.byteLength(String(field))}:`).update(String(field)).update(',');
    }
    known.set(`$p${n}`, `${n}-${hash.digest().subarray(0, 12).toString('base64url')}`);
  }
  return known;
}

/** What calls of the library a request stands for. @type {Record<string, (client: any, room: any, params: any) => any>} */
const calls = {
  joinRoom: (client, room, { userName, userKey, lastMessageId, limit }) => room.join({ userName, userKey, lastMessageId, limit }),
  textMessage: (client, room, { text, uuid, date }) => room.send(text, { uuid, date }),
  leaveRoom: (client, room) => room.leave(),
  history: (client, room, { before, after, limit }) => room.history({ before, after, limit }),
  members: (client, room, { after, limit }) => room.members({ after, limit }),
  rooms: (client) => client.rooms(),
  read: (client, room, { sequence }) => room.read(sequence),
  typing: (client, room) => room.typing(),
};

/** What a call's promise tells, held against the answer. @type {Record<string, (told: any, result: any) => void>} */
const tellings = {
  joinRoom: (told, result) => assert.deepEqual([told.userId, told.head, told.oldest, told.membersCount], [result.userId, result.head, result.oldest, result.members]),
  textMessage: (told, result) => assert.deepEqual([told.position, told.sequence], [result._id, result.sequence]),
  history: (told, result) => {
    assert.deepEqual(told.messages.map((each) => [each.sequence, each.position, each.text]), result.messages.map((each) => [each.sequence, each._id, each.params.text]));
    assert.equal(told.more, result.more);
  },
  members: (told, result) => assert.deepEqual([told.members, told.total, told.next], [result.members, result.total, result.next]),
  rooms: (told, result) => assert.deepEqual(told, result.rooms),
};

/** The events that a push raises. @type {Record<string, (push: any) => [string, any][]>} */
const events = {
  textMessage: (push) => [['message', { sequence: push.sequence, position: push._id, text: push.params.text, own: push.params.userId === people.get('$ana') }]],
  live: ({ params }) => [['live', { sequence: params.sequence }]],
  skipped: ({ params }) => [['skipped', { after: params.after, before: params.before }]],
  reset: ({ params }) => [['reset', { oldest: params.oldest, head: params.head }]],
  userJoined: ({ params }) => [['joined', { userId: params.userId, userName: params.userName }]],
  userLeft: ({ params }) => [['left', { userId: params.userId, userName: params.userName }]],
  typing: ({ params }) => [['typing', { userId: params.userId, userName: params.userName }]],
  read: ({ params }) => [['read', { userId: params.userId, sequence: params.sequence }]],
  heartbeat: () => [],
};
const ofMessage = ({ sequence, position, text, own }) => ({ sequence, position, text, own });

async function play(transcript) {
  const lines = transcript.lines;
  const mine = lines.filter((line) => line.who === transcript.library);
  const known = values(lines);
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/chat' });
  await new Promise((resolve) => server.once('listening', resolve));
  const url = `ws://127.0.0.1:${/** @type {any} */ (server.address()).port}/chat`;
  const client = new Client({ url, WebSocket });
  const room = client.room('plaza');
  const heard = [];
  room.on('message', (message) => heard.push(['message', ofMessage(message)]));
  for (const name of ['live', 'skipped', 'reset', 'joined', 'left', 'typing', 'read']) {
    room.on(name, (told = {}) => heard.push([name, told]));
  }
  const troubles = [];
  client.on('error', (error) => troubles.push(error));
  room.on('error', (error) => troubles.push(error));

  const expected = [];
  const asked = [];
  /** @type {Map<any, {id: any, method: string, promise: Promise<any>}>} by the transcript's id */ const open = new Map();
  let socket;
  try {
    for (const line of mine) {
      if (line.kind === '@') {
        const connected = new Promise((resolve) => server.once('connection', (ws) => resolve(ws)));
        void client.connect();
        socket = await within(`${line.at}: the library connects`, connected);
        assert.equal(socket.protocol, 'tertulia.v2');
        socket.on('message', (data) => asked.push(JSON.parse(String(data))));
      } else if (line.kind === '>') {
        await until(`${line.at}: what came before is heard`, () => heard.length >= expected.length, 10_000, () => ({ heard, expected }));
        const request = filled(JSON.parse(line.text), known);
        const promise = Promise.resolve(calls[request.method](client, room, request.params ?? {}));
        promise.catch(() => {});
        await until(`${line.at}: the library asks`, () => asked.length > 0, 10_000, () => request);
        const got = asked.shift();
        assert.deepEqual({ ...got, id: 0, params: got.params ?? {} }, { ...request, id: 0, params: request.params ?? {} }, line.at);
        open.set(request.id, { id: got.id, method: request.method, promise });
      } else if (line.kind === '<' || line.kind === '~') {
        const frame = withRest(filled(line.json, known));
        const call = frame.method ? undefined : open.get(frame.id);
        if (frame.method) expected.push(...events[frame.method](frame));
        else assert.ok(call, `${line.at}: an answer to what was not asked`);
        socket.send(JSON.stringify(call ? { ...frame, id: call.id } : frame));
        if (call) await settle(line, call, frame);
      } else assert.fail(`${line.at}: not for the library`);
    }
    await until('the events are those of the transcript', () => heard.length >= expected.length, 10_000, () => ({ heard, expected }));
    assert.deepEqual(heard, expected.map(([name, told]) => [name, told]));
    assert.deepEqual(asked, [], 'the library asked more than stands there');
    assert.deepEqual(troubles, []);
  } finally {
    socket?.terminate();
    server.close();
    await client.close();
  }
}

/** Variables that are still there are of no importance to the library; most are strings. */
function withRest(frame) {
  return JSON.parse(JSON.stringify(frame, (key, value) => (value === '$_' ? `some ${key}` : value)));
}

async function settle(line, call, frame) {
  if (frame.error) {
    await within(`${line.at}: the call fails`, call.promise.then(
      () => assert.fail(`${line.at}: the call has succeeded`),
      (error) => {
        assert.equal(error.rpcCode, frame.error.code, line.at);
        if (call.method === 'textMessage') assert.equal(error.outcome, 'none', line.at);
      }));
    return;
  }
  const told = await within(`${line.at}: the call succeeds`, call.promise);
  tellings[call.method]?.(told, frame.result);
}

const chosen = transcripts().filter((transcript) => transcript.library);
for (const transcript of chosen) test(transcript.name, () => play(transcript));
test('what the library can ask stands in one of them', () => {
  const asked = new Set(chosen.flatMap(({ library, lines }) => lines.filter((line) => line.who === library && line.kind === '>')
    .map((line) => JSON.parse(line.text).method)));
  assert.deepEqual([...asked].sort(), Object.keys(calls).sort());
});
