// What strangers send that is refused, row by row: bytes, the answer they get, the counter that goes up.
//
// A row is tried in both dialects unless it says which. `send` gets a connection that is, if `joined`, a member of the
// room plaza. What it must get: `closed`, a close code; or `errors`, the error answers [code, id] in order, and then the
// connection stays. `kind`: the label of tertulia_bad_input_total that goes up by as many.
import { frame, OPCODE } from './websocket.mjs';

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {'classic'|'v2'} [dialect]
 * @property {boolean} [joined]
 * @property {(peer: import('./websocket.mjs').WebSocketPeer) => void} send
 * @property {number[]} [closed] any of these close codes
 * @property {[number, unknown][]} [errors]
 * @property {string} [kind]
 */

const bytes = (...list) => Buffer.from(list);
const text = (payload, how) => frame(OPCODE.text, payload, how);
const utf8Bad = bytes(0x61, 0xc0, 0xaf, 0x62);

/** Answered by closing the connection. @type {Row[]} */
export const frames = [
  ['an unmasked frame', 1002, () => text('{}', { masked: false })],
  ['an unmasked ping', 1002, () => frame(OPCODE.ping, '', { masked: false })],
  ['reserved bit 1', 1002, () => text('{}', { rsv: 4 })],
  ['reserved bit 2', 1002, () => text('{}', { rsv: 2 })],
  ['reserved bit 3', 1002, () => text('{}', { rsv: 1 })],
  ['opcode 3', 1002, () => frame(3, '{}')],
  ['opcode 7', 1002, () => frame(7, '{}')],
  ['opcode 11', 1002, () => frame(11, '')],
  ['opcode 15', 1002, () => frame(15, '')],
  ['a ping of 126 bytes', 1002, () => frame(OPCODE.ping, Buffer.alloc(126))],
  ['a close of 126 bytes', 1002, () => frame(OPCODE.close, Buffer.alloc(126, 0x03))],
  ['a fragmented ping', 1002, () => frame(OPCODE.ping, '', { fin: false })],
  ['a fragmented close', 1002, () => frame(OPCODE.close, bytes(3, 0xe8), { fin: false })],
  ['a continuation of nothing', 1002, () => frame(OPCODE.continuation, '{}')],
  ['a text inside a fragmented text', 1002, () => Buffer.concat([text('{', { fin: false }), text('}')])],
  ['a short length in three bytes', 1002, () => text('{}', { lengthBytes: 2 })],
  ['a short length in nine bytes', 1002, () => text('{}', { lengthBytes: 8 })],
  ['a middle length in nine bytes', 1002, () => text(Buffer.alloc(300, 0x20), { lengthBytes: 8 })],
  ['a length with its top bit set', 1002, () => text('', { lengthBytes: 8, length: 2n ** 63n })],
  ['a close frame of one byte', 1002, () => frame(OPCODE.close, bytes(3))],
  ['close code 0', 1002, () => frame(OPCODE.close, bytes(0, 0))],
  ['close code 999', 1002, () => frame(OPCODE.close, bytes(0x03, 0xe7))],
  ['close code 1005', 1002, () => frame(OPCODE.close, bytes(0x03, 0xed))],
  ['close code 1006', 1002, () => frame(OPCODE.close, bytes(0x03, 0xee))],
  ['close code 5000', 1002, () => frame(OPCODE.close, bytes(0x13, 0x88))],
  ['a text that is not UTF-8', 1007, () => text(utf8Bad)],
  ['a text that is not UTF-8, before its end has come', 1007, () => text(utf8Bad, { length: 5_000 })],
  ['a surrogate in UTF-8', 1007, () => text(bytes(0xed, 0xa0, 0x80))],
  ['a text that ends inside a character', 1007, () => text(bytes(0xe2, 0x82))],
  ['a character broken over fragments', 1007, () => Buffer.concat([
    text(bytes(0x22, 0xe2), { fin: false }), frame(OPCODE.continuation, bytes(0x28, 0x22))])],
  ['a close reason that is not UTF-8', 1007, () => frame(OPCODE.close, bytes(0x03, 0xe8, 0xff))],
  ['a binary frame', 1003, () => frame(OPCODE.binary, '{}')],
  ['a message above 16 MiB, from its header alone', 1009, () => text('', { lengthBytes: 8, length: (16 << 20) + 1 })],
  ['sixty-five fragments', 1009, () => Buffer.concat([
    text('"', { fin: false }), ...Array.from({ length: 64 }, () => frame(OPCODE.continuation, 'x', { fin: false }))])],
].map(([name, code, make]) => ({
  name: /** @type {string} */ (name), closed: [/** @type {number} */ (code)], kind: 'frame',
  send: (peer) => peer.sendRaw(/** @type {() => Buffer} */ (make)()),
}));

/** Too many of them in a second. @type {Row[]} */
export const floods = [
  { name: 'a flood of pings', closed: [1008], kind: 'flood',
    send: (peer) => peer.sendRaw(Buffer.concat(Array.from({ length: 30 }, () => frame(OPCODE.ping, '')))) },
  { name: 'a flood of empty fragments', closed: [1008], kind: 'flood',
    send: (peer) => peer.sendRaw(Buffer.concat([text('"', { fin: false }),
      ...Array.from({ length: 40 }, () => frame(OPCODE.continuation, '', { fin: false }))])) },
];

const says = (payload) => (peer) => peer.sendRaw(text(typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload)));
const request = (method, params, id = 5) => ({ jsonrpc: '2.0', method, params, id });
const parse = (name, payload) => ({ name, send: says(payload), errors: [[-32700, null]], kind: 'json' });
const shape = (name, payload, id = null) => ({ name, send: says(payload), errors: [[-32600, id]], kind: 'request' });

/** @type {Row[]} */
export const jsonRpc = [
  parse('nothing', ''),
  parse('no JSON', 'hello'),
  parse('half a request', '{"jsonrpc":"2.0"'),
  parse('nesting of 33', `${'['.repeat(33)}${']'.repeat(33)}`),
  parse('nesting of 20,000', '['.repeat(20_000)),
  parse('a key that occurs twice', '{"jsonrpc":"2.0","method":"ping","id":5,"id":6}'),
  parse('a key that occurs twice below', '{"jsonrpc":"2.0","method":"ping","params":{"a":{"b":1,"\\u0062":2}},"id":5}'),
  parse('bytes behind the value', '{"jsonrpc":"2.0","method":"ping","id":5} x'),
  parse('two values', '{"jsonrpc":"2.0","method":"ping","id":5}{"jsonrpc":"2.0","method":"ping","id":6}'),
  parse('a NUL', Buffer.from('{"jsonrpc":"2.0","method":"ping","id":5}\0')),
  parse('an escaped NUL', '{"jsonrpc":"2.0","method":"ping","params":{"roomName":"a\\u0000b"},"id":5}'),
  parse('a huge number', '{"jsonrpc":"2.0","method":"ping","params":{"n":1e400},"id":5}'),
  parse('a lone surrogate escape', '{"jsonrpc":"2.0","method":"ping","params":{"s":"\\ud800"},"id":5}'),
  parse('a comment', '{"jsonrpc":"2.0",/**/"method":"ping","id":5}'),
  parse('NaN', '{"jsonrpc":"2.0","method":"ping","params":{"n":NaN},"id":5}'),
  shape('a batch', [request('ping')]),
  shape('an empty batch', '[]'),
  shape('a number', '1'),
  shape('a string', '"ping"'),
  shape('null', 'null'),
  shape('no version', { method: 'ping', id: 5 }, 5),
  shape('version 1.0', { jsonrpc: '1.0', method: 'ping', id: 5 }, 5),
  shape('no method', { jsonrpc: '2.0', id: 5 }, 5),
  shape('a method that is an object', { jsonrpc: '2.0', method: {}, id: 5 }, 5),
  shape('no id', { jsonrpc: '2.0', method: 'ping' }),
  shape('an id that is an object', { ...request('ping'), id: {} }),
  shape('an id that is an array', { ...request('ping'), id: [1] }),
  shape('an id that is null', { ...request('ping'), id: null }),
  shape('an id that is true', { ...request('ping'), id: true }),
  shape('an id with a fraction', '{"jsonrpc":"2.0","method":"ping","id":1.5}'),
  shape('an id beyond 2^53', '{"jsonrpc":"2.0","method":"ping","id":9007199254740993}'),
  shape('an id of 65 characters', { ...request('ping'), id: 'x'.repeat(65) }),
  { name: 'an unknown method', send: says(request('launch')), errors: [[-32601, 5]], kind: 'method' },
  { name: 'the method __proto__', send: says('{"jsonrpc":"2.0","method":"__proto__","id":5}'), errors: [[-32601, 5]], kind: 'method' },
  { name: 'authenticate, which is kept for later', send: says(request('authenticate', { token: 'x' })), errors: [[-32601, 5]], kind: 'method' },
  ...[1, 'x', [], null, true].map((params) => ({
    name: `params ${JSON.stringify(params)}`, send: says(request('joinRoom', params)), errors: [[-32602, 5]], kind: 'params',
  })),
  { name: 'params without a room, hidden in __proto__', errors: [[-32602, 5]], kind: 'params',
    send: says('{"jsonrpc":"2.0","method":"joinRoom","params":{"__proto__":{"roomName":"plaza","userName":"x","userId":"x"}},"id":5}') },
  { name: 'a message of 64 KiB and a byte', errors: [[-32014, null]], kind: 'too_large',
    send: says(`"${'x'.repeat((64 << 10) - 1)}"`) },
  { name: 'a message of 3 MiB', errors: [[-32014, null]], kind: 'too_large', send: says(`"${'x'.repeat(3 << 20)}"`) },
  { name: 'a message too large in its fragments', errors: [[-32014, null]], kind: 'too_large',
    send: (peer) => peer.sendRaw(Buffer.concat([text(Buffer.alloc(40_000, 0x20), { fin: false }),
      frame(OPCODE.continuation, Buffer.alloc(40_000, 0x20))])) },
];

const join = { classic: { userId: 'stranger', userName: 'Stranger', roomName: 'plaza' }, v2: { userName: 'Stranger', roomName: 'plaza' } };
const said = {
  classic: { userId: 'id of Stranger', roomName: 'plaza', userName: 'Stranger', text: 'x', uuid: 'u-1', date: '', ack: false },
  v2: { roomName: 'plaza', text: 'x', uuid: 'u-1', date: '' },
};

/** @param {'classic'|'v2'} dialect @param {string} name @param {string} method @param {object} params @returns {Row} */
const wrong = (dialect, name, method, params, joined = false) => ({
  name: `${method}: ${name}`, dialect, joined, send: says(request(method, params)), errors: [[-32602, 5]], kind: 'params',
});

const names = {
  'empty': '', 'of 65 characters': 'x'.repeat(65), 'of 257 bytes': '🫖'.repeat(64) + 'x', 'with a line feed': 'a\nb',
  'with an escape': 'a\x1b[31mb', 'with DEL': 'a\x7fb', 'with a C1 control': 'a\u0085b', 'with a bidi override': 'a\u202eb',
  'with a bidi isolate': 'a\u2066b', 'an object': { $gt: '' }, 'an array': ['plaza'], 'a number': 7, 'null': null, 'true': true,
};

/** @type {Row[]} */
export const params = /** @type {const} */ (['classic', 'v2']).flatMap((dialect) => [
  ...Object.entries(names).flatMap(([name, value]) => [
    wrong(dialect, `room name ${name}`, 'joinRoom', { ...join[dialect], roomName: value }),
    wrong(dialect, `user name ${name}`, 'joinRoom', { ...join[dialect], userName: value }),
    wrong(dialect, `room name ${name}`, 'textMessage', { ...said[dialect], roomName: value }, true),
  ]),
  wrong(dialect, 'user name with a zero-width space', 'joinRoom', { ...join[dialect], userName: 'a\u200bb' }),
  wrong(dialect, 'user name of nothing visible', 'joinRoom', { ...join[dialect], userName: ' \u3000 ' }),
  wrong(dialect, 'no room name', 'joinRoom', { ...join[dialect], roomName: undefined }),
  ...[['empty', ''], ['an object', { $ne: null }], ['a number', 1], ['null', null], ['missing', undefined]].map(([name, value]) =>
    wrong(dialect, `text ${name}`, 'textMessage', { ...said[dialect], text: value }, true)),
  ...[['a number', 1], ['an object', {}], ['null', null], ['of 65 bytes', 'x'.repeat(65)]].map(([name, value]) =>
    wrong(dialect, `date ${name}`, 'textMessage', { ...said[dialect], date: value }, true)),
  ...[['empty', ''], ['of 65 characters', 'x'.repeat(65)], ['with a slash', 'a/b'], ['with a dot', 'a.b'], ['a path', '../x'],
    ['with a letter beyond ASCII', 'ü'], ['an object', { $gt: '' }], ['a number', 1], ['missing', undefined]].map(([name, value]) =>
    wrong(dialect, `uuid ${name}`, 'textMessage', { ...said[dialect], uuid: value }, true)),
]).concat([
  ...[['empty', ''], ['of 129 bytes', 'x'.repeat(129)], ['with a control', 'a\tb'], ['that begins with ~', '~abc'],
    ['an object', { $gt: '' }], ['missing', undefined]].map(([name, value]) =>
    wrong('classic', `userId ${name}`, 'joinRoom', { ...join.classic, userId: value })),
  ...[['empty', ''], ['of 42 characters', 'x'.repeat(42)], ['of 44 characters', 'x'.repeat(44)], ['with a plus', `${'x'.repeat(42)}+`],
    ['an object', { $gt: '' }], ['a number', 7]].map(([name, value]) =>
    wrong('v2', `userKey ${name}`, 'joinRoom', { ...join.v2, userKey: value })),
  ...[-1, 17, 1.5, true, {}, '', 'x', '-1-AAAAAAAAAAAAAAAA', '1.5-AAAAAAAAAAAAAAAA', '3', '3-', '3-short', '3-AAAAAAAAAAAAAAA+',
    '9223372036854775808-AAAAAAAAAAAAAAAA', '03-AAAAAAAAAAAAAAAA', ' 3-AAAAAAAAAAAAAAAA', '5f2b9c1e8a7d4b0012345678'].map((value) =>
    wrong('v2', `position ${JSON.stringify(value)}`, 'joinRoom', { ...join.v2, lastMessageId: value })),
  ...[-1, 1001, 1.5, '10', {}, true].map((value) =>
    wrong('v2', `limit ${JSON.stringify(value)}`, 'joinRoom', { ...join.v2, limit: value })),
  ...[[{ before: 3, after: 1 }], [{ before: -1 }], [{ before: 1.5 }], [{ before: '3' }], [{ after: 2 ** 63 }], [{ limit: 0 }],
    [{ limit: 'x' }]].map(([value]) =>
    wrong('v2', JSON.stringify(value), 'history', { roomName: 'plaza', ...value }, true)),
  ...[-1, 1.5, '1', undefined, 2 ** 63, {}].map((value) =>
    wrong('v2', `sequence ${JSON.stringify(value)}`, 'read', { roomName: 'plaza', sequence: value }, true)),
  ...[1, {}, []].map((value) => wrong('v2', `after ${JSON.stringify(value)}`, 'members', { roomName: 'plaza', after: value }, true)),
]);

/** Well-formed, and not for whoever asks. @type {Row[]} */
export const foreign = [
  ...['textMessage', 'history', 'members', 'read', 'typing', 'leaveRoom'].map((method) => ({
    name: `${method} of a room not joined`, dialect: /** @type {const} */ ('v2'), joined: true, kind: 'not_member',
    send: says(request(method, { ...said.v2, roomName: 'elsewhere', sequence: 1 })),
    errors: /** @type {[number, unknown][]} */ ([[-32010, 5]]),
  })),
  { name: 'textMessage to a room not joined', dialect: 'classic', joined: true, kind: 'not_member',
    send: says(request('textMessage', { ...said.classic, roomName: 'elsewhere' })), errors: [[-32010, 5]] },
  { name: 'textMessage for another user', dialect: 'classic', joined: true, kind: 'not_member',
    send: says(request('textMessage', { ...said.classic, userId: 'somebody else' })), errors: [[-32011, 5]] },
  { name: 'joinRoom as another user', dialect: 'v2', joined: true, kind: 'not_member',
    send: says(request('joinRoom', { roomName: 'elsewhere', userName: 'x', userKey: 'A'.repeat(43) })), errors: [[-32011, 5]] },
  { name: 'joinRoom of the joined room under another name', dialect: 'v2', joined: true,
    send: says(request('joinRoom', { roomName: 'plaza', userName: 'another' })), errors: [[-32602, 5]] },
];
