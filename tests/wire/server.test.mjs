// Plays the clients of each transcript to the real server: it must say, frame for frame, what stands there.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { isCluster, withServer } from '../system/lib/server.mjs';
import { until, within } from '../system/lib/until.mjs';
import { WebSocketPeer } from '../system/lib/websocket.mjs';
import { filled, filledText, matches, people, transcripts } from './transcript.mjs';

const protocols = { v2: 'tertulia.v2', classic: undefined };

/** What a transcript's requests are about must be all that there is: every method of each dialect has its place here. */
const methods = {
  v2: ['joinRoom', 'textMessage', 'leaveRoom', 'history', 'members', 'rooms', 'read', 'typing', 'ping', 'authenticate'],
  classic: ['joinRoom', 'reconnect', 'textMessage'],
};

class Player {
  /** @param {import('../system/lib/server.mjs').Server} server */
  constructor(server) {
    this.server = server;
    /** @type {Map<string, any>} */ this.known = new Map(people);
    /** @type {Map<string, {peer: WebSocketPeer, said: any[]}>} */ this.connections = new Map();
  }

  async open(who, dialect) {
    const peer = await WebSocketPeer.connect({ ...this.server.address, protocol: protocols[dialect] });
    const said = [];
    peer.on('text', (text) => said.push(JSON.parse(text)));
    this.connections.set(who, { peer, said });
  }

  /** @param {import('./transcript.mjs').Line[]} lines in any order */
  async hear(lines) {
    const left = [...lines];
    const { peer, said } = this.connections.get(lines[0].who);
    while (left.length > 0) {
      await until(`${left[0].at}: ${left[0].who} hears something`, () => said.length > 0 || !peer.isOpen, 10_000, () => filled(left[0].json, this.known));
      assert.ok(said.length > 0, `${left[0].at}: the connection has ended`);
      const next = said.shift();
      const found = left.findIndex((line) => matches(line.json, next, this.known));
      if (found < 0) assert.deepEqual(next, filled(left[0].json, this.known), left[0].at);
      left.splice(found, 1);
      if (isCluster) this.known.delete('$node');  // the next connection may be to another
    }
  }

  /** @param {import('./transcript.mjs').Line} line */
  async end(line) {
    const { peer } = this.connections.get(line.who);
    const [what, code] = line.text.split(' ');
    if (what === 'cut') peer.cut();
    else if (what === 'leave') peer.close(Number(code));
    else {
      assert.equal(what, 'close', line.at);
      const how = await within(`${line.at}: the connection is closed`, peer.closed);
      assert.deepEqual([how.code, how.byServer], [Number(code), true], line.at);
      return;
    }
    await peer.closed;
  }

  /** @param {import('./transcript.mjs').Line[]} lines */
  async play(lines) {
    for (let i = 0; i < lines.length; ++i) {
      const line = lines[i];
      switch (line.kind) {
        case '%': this.server.signal('SIGTERM'); break;
        case '@': await this.open(line.who, line.text); break;
        case '>': this.connections.get(line.who).peer.send(filledText(line.text, this.known)); break;
        case '<': await this.hear([line]); break;
        case '~': {
          let end = i + 1;
          while (end < lines.length && lines[end].kind === '~' && lines[end].who === line.who) ++end;
          await this.hear(lines.slice(i, end));
          i = end - 1;
          break;
        }
        case '!': await this.end(line); break;
      }
    }
    for (const [who, { said }] of this.connections) assert.deepEqual(said, [], `${who} heard more than stands there`);
  }
}

for (const transcript of transcripts()) {
  test(transcript.name, () =>
    withServer({ args: transcript.options }, async (server) => {
      const player = new Player(server);
      await player.play(transcript.lines);
      assertPositions(transcript.lines, player.known);
      for (const { peer } of player.connections.values()) peer.cut();
    }));
}

test('every method of both dialects is in a transcript, and every code that a request can get', () => {
  const dialects = new Map();
  const used = { v2: new Set(), classic: new Set() };
  const codes = new Set();
  for (const { lines } of transcripts()) {
    for (const line of lines) {
      if (line.kind === '@') dialects.set(line.who, line.text);
      if (line.kind === '>') {
        const method = /"method":"(\w+)"/.exec(line.text)?.[1];
        if (method) used[dialects.get(line.who)].add(method);
      }
      if (line.json?.error) codes.add(line.json.error.code);
    }
  }
  for (const dialect of ['v2', 'classic']) {
    assert.deepEqual(methods[dialect].filter((method) => !used[dialect].has(method)), [], dialect);
  }
  // −32603 and −32013 need a store that refuses or is away: tests/system/poison.test.mjs, trouble.test.mjs.
  const all = [-32700, -32600, -32601, -32602, -32001, -32003, -32010, -32011, -32012, -32014, -32015, -32016];
  assert.deepEqual(all.filter((code) => !codes.has(code)), []);
});

/** The chain of what was said is that of the positions (docs/protocol.md). */
function assertPositions(lines, known) {
  const seen = new Set();
  for (const line of lines) {
    const push = line.json && filled(line.json, known);
    if (push?.method !== 'textMessage' || typeof push._id !== 'string' || push._id.startsWith('$') || seen.has(push._id)) continue;
    seen.add(push._id);
    const { roomName, uuid, userId, userName, date, sentAt, text } = push.params;
    const before = push.sequence === 1
      ? createHash('sha256').update(`tertulia:${roomName}`).digest().subarray(0, 12)
      : Buffer.from(String(known.get(`$p${push.sequence - 1}`) ?? '').split(/-(.*)/s)[1] ?? '', 'base64url');
    if (before.length !== 12) continue;
    const hash = createHash('sha256').update(before);
    for (const field of [push.sequence, push.method, uuid, userId, userName, date, sentAt, text]) {
      hash.update(`${Buffer.byteLength(String(field))}:`).update(String(field)).update(',');
    }
    assert.equal(push._id, `${push.sequence}-${hash.digest().subarray(0, 12).toString('base64url')}`, line.at);
  }
}
