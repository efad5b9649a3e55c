// The chain of a room's log, computed here from docs/protocol.md alone: neither the server's code nor the library's.
import { createHash } from 'node:crypto';

const bytes = 12;

/** chain(0): of the room's name. @param {string} room @returns {Buffer} */
export function chainStart(room) {
  return createHash('sha256').update(`tertulia:${room}`).digest().subarray(0, bytes);
}

/**
 * chain(n) from chain(n-1) and message n.
 * @param {Buffer} previous
 * @param {{sequence: number, method: string, uuid: string, userId: string, userName: string, date: string,
 *   sentAt: number, text?: string, fileName?: string, contentType?: string, size?: number, sha256?: string}} message
 * @returns {Buffer}
 */
export function chainNext(previous, message) {
  const { sequence, method, uuid, userId, userName, date, sentAt } = message;
  const fields = [String(sequence), method, uuid, userId, userName, date, String(sentAt)];
  if (method === 'textMessage') fields.push(message.text ?? '');
  else fields.push(message.fileName ?? '', message.contentType ?? '', String(message.size), message.sha256 ?? '');
  const hash = createHash('sha256').update(previous);
  for (const field of fields) hash.update(`${Buffer.byteLength(field)}:${field},`);
  return hash.digest().subarray(0, bytes);
}

/** As on the wire. @param {Buffer} chain */
export function chainText(chain) {
  return chain.toString('base64url');
}
