// A WebSocket client down to its bytes, for tests: it can send what no library would, leave its socket unread, keep its
// pongs to itself, and ends cleanly or not, as it is told. Node's own socket underneath, nothing else.
import { EventEmitter } from 'node:events';
import { randomBytes } from 'node:crypto';
import net from 'node:net';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/**
 * One frame as a client sends it. The mask is all zeros unless one is given: allowed, and a test then reads in a dump
 * what it sent.
 * @param {number} opcode
 * @param {string|Buffer} payload
 * @param {{fin?: boolean, rsv?: number, masked?: boolean, mask?: Buffer, lengthBytes?: 1|2|8, length?: number|bigint}} [how]
 *   rsv: the three reserved bits, 0 to 7. length, lengthBytes: what the header says instead of the truth, and in how
 *   many bytes.
 * @returns {Buffer}
 */
export function frame(opcode, payload = '', how = {}) {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const length = how.length ?? body.length;
  const lengthBytes = how.lengthBytes ?? (length < 126 ? 1 : length < 65536 ? 2 : 8);
  const masked = how.masked ?? true;
  const header = Buffer.alloc(1 + (lengthBytes === 1 ? 1 : 1 + lengthBytes) + (masked ? 4 : 0));
  header[0] = (how.fin === false ? 0 : 0x80) | ((how.rsv ?? 0) << 4) | opcode;
  header[1] = (masked ? 0x80 : 0) | (lengthBytes === 1 ? Number(length) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) header.writeUInt16BE(Number(length), 2);
  if (lengthBytes === 8) header.writeBigUInt64BE(BigInt(length), 2);
  if (!masked || !how.mask) return Buffer.concat([header, body]);
  how.mask.copy(header, header.length - 4);
  const hidden = Buffer.from(body);
  for (let i = 0; i < hidden.length; ++i) hidden[i] ^= how.mask[i & 3];
  return Buffer.concat([header, hidden]);
}

/** What a handshake got instead of 101. */
export class HandshakeError extends Error {
  /** @param {number} status @param {string} head */
  constructor(status, head) {
    super(`the server answered the handshake with ${status || JSON.stringify(head)}`);
    this.status = status;
    this.head = head;
  }
}

/**
 * Events: 'text' (string), 'ping' (Buffer), 'close' ({code, reason, byServer}) exactly once. code is 1005 for a close
 * frame without a code and 1006 for an end without a close frame.
 */
export class WebSocketPeer extends EventEmitter {
  /** @type {Buffer} */ #left = Buffer.alloc(0);
  #ended = false;
  #closeSent = false;
  /** @type {{code: number, reason: string}|undefined} */ #closeFrame;

  /** @param {net.Socket} socket @param {{autoPong?: boolean}} options */
  constructor(socket, options = {}) {
    super();
    this.socket = socket;
    this.autoPong = options.autoPong ?? true;
    this.framesReceived = 0;
    /** Settles with what 'close' tells. @type {Promise<{code: number, reason: string, byServer: boolean}>} */
    this.closed = new Promise((resolve) => this.once('close', resolve));
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('error', () => {});
    socket.on('close', () => this.#end());
  }

  /**
   * @param {{host?: string, port: number, path?: string, protocol?: string, origin?: string, headers?: string[],
   *   localAddress?: string, autoPong?: boolean, timeoutMs?: number}} to
   * @returns {Promise<WebSocketPeer>} rejects with a HandshakeError, or with the socket's error
   */
  static connect(to) {
    const host = to.host ?? '127.0.0.1';
    const key = randomBytes(16).toString('base64');
    const lines = [
      `GET ${to.path ?? '/chat'} HTTP/1.1`,
      `Host: ${host}:${to.port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${key}`,
      ...(to.protocol ? [`Sec-WebSocket-Protocol: ${to.protocol}`] : []),
      ...(to.origin ? [`Origin: ${to.origin}`] : []),
      ...(to.headers ?? []),
    ];
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port: to.port, localAddress: to.localAddress });
      socket.setNoDelay(true);
      let head = Buffer.alloc(0);
      const timer = setTimeout(() => fail(new Error('the handshake took too long')), to.timeoutMs ?? 20_000);
      const fail = (/** @type {Error} */ error) => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
      const onClose = () => fail(new HandshakeError(0, head.toString('latin1')));
      const onData = (/** @type {Buffer} */ bytes) => {
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        const text = head.toString('latin1', 0, end);
        const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
        if (status !== 101) {
          fail(new HandshakeError(status, text));
          return;
        }
        clearTimeout(timer);
        socket.removeListener('data', onData);
        socket.removeListener('close', onClose);
        socket.removeListener('error', fail);
        const peer = new WebSocketPeer(socket, to);
        resolve(peer);
        // What came behind the head is looked at once the caller has put up its listeners.
        peer.#left = head.subarray(end + 4);
        if (peer.#left.length > 0) setImmediate(() => peer.#take(Buffer.alloc(0)));
      };
      socket.on('connect', () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
      socket.on('data', onData);
      socket.on('error', fail);
      socket.on('close', onClose);
    });
  }

  get isOpen() {
    return !this.#ended && !this.#closeSent && this.#closeFrame === undefined;
  }

  /** @param {string} text */
  send(text) {
    if (this.isOpen) this.socket.write(frame(OPCODE.text, text));
  }
  /** @param {string[]} texts all in one write */
  sendAll(texts) {
    if (this.isOpen && texts.length > 0) this.socket.write(Buffer.concat(texts.map((text) => frame(OPCODE.text, text))));
  }
  /** @param {Buffer|string} bytes */
  sendRaw(bytes) {
    if (!this.#ended) this.socket.write(bytes);
  }
  /** Leaves everything in the kernel, pings included. */
  stopReading() {
    this.socket.pause();
  }
  startReading() {
    this.socket.resume();
  }
  /** Begins a clean end. @param {number} [code] without one the close frame is empty */
  close(code = 1000) {
    if (!this.isOpen) return;
    this.#closeSent = true;
    const payload = Buffer.alloc(code === 1005 ? 0 : 2);
    if (payload.length > 0) payload.writeUInt16BE(code);
    this.socket.write(frame(OPCODE.close, payload));
  }
  /** The connection is cut without a word. */
  cut() {
    this.socket.resetAndDestroy ? this.socket.resetAndDestroy() : this.socket.destroy();
  }

  /** @param {Buffer} bytes */
  #take(bytes) {
    let buffer = this.#left.length > 0 ? Buffer.concat([this.#left, bytes]) : bytes;
    while (buffer.length >= 2) {
      let at = 2;
      let length = buffer[1] & 0x7f;
      if (length === 126) {
        if (buffer.length < 4) break;
        length = buffer.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (buffer.length < 10) break;
        length = Number(buffer.readBigUInt64BE(2));
        at = 10;
      }
      if (buffer.length < at + length) break;
      const payload = buffer.subarray(at, at + length);
      const first = buffer[0];
      buffer = buffer.subarray(at + length);
      ++this.framesReceived;
      this.#frame(first, payload);
    }
    this.#left = Buffer.from(buffer);
  }

  /** @param {number} first @param {Buffer} payload */
  #frame(first, payload) {
    switch (first) {
      case 0x80 | OPCODE.text: this.emit('text', payload.toString('utf8')); return;
      case 0x80 | OPCODE.ping:
        this.emit('ping', payload);
        if (this.autoPong && !this.#ended) this.socket.write(frame(OPCODE.pong, payload));
        return;
      case 0x80 | OPCODE.pong: this.emit('pong', payload); return;
      case 0x80 | OPCODE.close:
        this.#closeFrame = {
          code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005,
          reason: payload.toString('utf8', 2),
        };
        if (!this.#closeSent) this.socket.write(frame(OPCODE.close, payload.subarray(0, 2)));
        this.socket.end();
        return;
      default:
        throw new Error(`the server sent a frame that begins with 0x${first.toString(16)}`);
    }
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    this.emit('close', { ...(this.#closeFrame ?? { code: 1006, reason: '' }), byServer: !this.#closeSent });
  }
}
