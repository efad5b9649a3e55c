// Frames of dialect v2: requests are written, what comes in is read into one of five kinds. Pure. Whatever a server may say
// ends in a kind; nothing here throws.
import { chainOfText, parsePosition } from './chain.js';
import type { RpcError } from './errors.js';
import type { Message } from './types.js';

export const subprotocol = 'tertulia.v2';

export type Params = Record<string, unknown>;

export type Inbound =
  | { kind: 'message'; message: Message }
  | { kind: 'answer'; id: number; result: Params }
  | { kind: 'failure'; id: number | null; error: RpcError }
  | { kind: 'notice'; method: string; params: Params }
  | { kind: 'nonsense'; why: string };

export function encodeRequest(id: number, method: string, params: Params): string {
  return JSON.stringify({ jsonrpc: '2.0', method, params, id });
}

const kinds = new Map<string, Message['kind']>([
  ['textMessage', 'text'],
  ['imageMessage', 'image'],
  ['fileMessage', 'file'],
]);

function isObject(value: unknown): value is Params {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A push, or an entry of a history answer. `own` is decided later. Undefined if a field is missing or of another type. */
export function readMessage(frame: unknown): Message | undefined {
  if (!isObject(frame) || typeof frame['method'] !== 'string') return undefined;
  const method = frame['method'];
  const kind = kinds.get(method);
  const params = frame['params'];
  if (!kind || !isObject(params) || typeof frame['_id'] !== 'string') return undefined;
  const position = parsePosition(frame['_id']);
  if (!position || position.sequence < 1 || position.sequence !== frame['sequence']) return undefined;
  const { userId, roomName, userName, uuid, date, sentAt } = params;
  if (typeof userId !== 'string' || typeof roomName !== 'string' || typeof userName !== 'string') return undefined;
  if (typeof uuid !== 'string' || typeof date !== 'string' || !Number.isSafeInteger(sentAt)) return undefined;
  const message: Message = {
    kind,
    method: method as Message['method'],
    roomName,
    sequence: position.sequence,
    position: frame['_id'],
    chain: position.chain,
    uuid,
    userId,
    userName,
    date,
    sentAt: sentAt as number,
    own: false,
  };
  if (kind === 'text') {
    if (typeof params['text'] !== 'string') return undefined;
    message.text = params['text'];
    return message;
  }
  const { size, contentType, sha256 } = params;
  if (!Number.isSafeInteger(size) || typeof contentType !== 'string' || typeof sha256 !== 'string') return undefined;
  message.size = size as number;
  message.contentType = contentType;
  message.sha256 = sha256;
  if (kind === 'file') {
    if (typeof params['fileName'] !== 'string') return undefined;
    message.fileName = params['fileName'];
  }
  return message;
}

function readError(error: Params): RpcError {
  const data = isObject(error['data']) ? error['data'] : {};
  const after = data['retryAfterMs'];
  return {
    code: typeof error['code'] === 'number' ? error['code'] : 0,
    message: typeof error['message'] === 'string' ? error['message'] : 'no reason given',
    retryable: data['retryable'] === true,
    retryAfterMs: typeof after === 'number' && after >= 0 ? after : undefined,
  };
}

export function decode(data: unknown): Inbound {
  if (typeof data !== 'string') return { kind: 'nonsense', why: 'a frame that is not text' };
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return { kind: 'nonsense', why: 'a frame that is not JSON' };
  }
  if (!isObject(frame)) return { kind: 'nonsense', why: 'a frame that is not an object' };
  const method = frame['method'];
  if (typeof method === 'string') {
    if (kinds.has(method)) {
      const message = readMessage(frame);
      return message ? { kind: 'message', message } : { kind: 'nonsense', why: `a ${method} without its fields` };
    }
    const params = frame['params'];
    return { kind: 'notice', method, params: isObject(params) ? params : {} };
  }
  const id = typeof frame['id'] === 'number' ? frame['id'] : null;
  if (isObject(frame['error'])) return { kind: 'failure', id, error: readError(frame['error']) };
  if (isObject(frame['result']) && id !== null) return { kind: 'answer', id, result: frame['result'] };
  return { kind: 'nonsense', why: 'a frame that is neither a push nor an answer' };
}

// Fields of answers and notices, with a mild default where a server leaves one out.
export function numberOf(params: Params, name: string, otherwise = 0): number {
  const value = params[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : otherwise;
}

export function stringOf(params: Params, name: string, otherwise = ''): string {
  const value = params[name];
  return typeof value === 'string' ? value : otherwise;
}

export function validPosition(text: string): boolean {
  const position = parsePosition(text);
  return position !== undefined && chainOfText(position.chain) !== undefined;
}
