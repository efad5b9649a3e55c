// Every way in which something a user of the library asked for can fail, as one class with a `code`.

/**
 * - `nameTaken`: another user has this name in the room (−32001).
 * - `notMember`: the room is not joined, and no join is under way.
 * - `notAuthorised`: the server knows this connection as somebody else (−32011).
 * - `tooMany`: too many rooms, sessions or members (−32012); too many calls at once.
 * - `busy`: the server could not answer now (−32013, −32016) and the caller did not want to wait.
 * - `tooLarge`: the text is larger than the server takes (−32014), or was refused here for it.
 * - `queueFull`: this room's outgoing queue has reached its limit; nothing was queued.
 * - `refused`: the server's store refuses this message for what it is (−32603).
 * - `uuidReused`: the uuid stands for another message already (−32015).
 * - `invalid`: an argument is not what it must be (here, or −32602, −32600).
 * - `chain`: what the server sent does not continue what this client holds.
 * - `protocol`: the server said what this library does not understand.
 * - `left`: the room was left before the outcome came.
 * - `closed`: the client was closed before the outcome came.
 * - `serverRefuses`: the server closed with a code that forbids coming back.
 */
export type ErrorCode =
  | 'nameTaken'
  | 'notMember'
  | 'notAuthorised'
  | 'tooMany'
  | 'busy'
  | 'tooLarge'
  | 'queueFull'
  | 'refused'
  | 'uuidReused'
  | 'invalid'
  | 'chain'
  | 'protocol'
  | 'left'
  | 'closed'
  | 'serverRefuses';

/**
 * What a failed send means for the message.
 * - `none`: it is certainly not in the log and will not come into it.
 * - `unknown`: it was sent at least once on a connection that ended before the answer; it may be in the log.
 */
export type Outcome = 'none' | 'unknown';

export interface ErrorDetails {
  /** The server's JSON-RPC error code, where it spoke. */
  rpcCode?: number;
  /** The WebSocket close code, where it ended the client. */
  closeCode?: number;
  /** Of a failed send. */
  outcome?: Outcome;
  /** Of a failed send: the message's uuid. */
  uuid?: string;
  retryable?: boolean;
  retryAfterMs?: number;
}

export class TertuliaError extends Error {
  readonly code: ErrorCode;
  readonly rpcCode: number | undefined;
  readonly closeCode: number | undefined;
  readonly outcome: Outcome | undefined;
  readonly uuid: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = 'TertuliaError';
    this.code = code;
    this.rpcCode = details.rpcCode;
    this.closeCode = details.closeCode;
    this.outcome = details.outcome;
    this.uuid = details.uuid;
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }
}

export const rpc = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  refusedByStore: -32603,
  nameTaken: -32001,
  notMember: -32010,
  notAuthorised: -32011,
  tooMany: -32012,
  busy: -32013,
  tooLarge: -32014,
  uuidReused: -32015,
  draining: -32016,
} as const;

const codeOfRpc: Record<number, ErrorCode> = {
  [rpc.parseError]: 'protocol',
  [rpc.invalidRequest]: 'invalid',
  [rpc.methodNotFound]: 'protocol',
  [rpc.invalidParams]: 'invalid',
  [rpc.refusedByStore]: 'refused',
  [rpc.nameTaken]: 'nameTaken',
  [rpc.notMember]: 'notMember',
  [rpc.notAuthorised]: 'notAuthorised',
  [rpc.tooMany]: 'tooMany',
  [rpc.busy]: 'busy',
  [rpc.tooLarge]: 'tooLarge',
  [rpc.uuidReused]: 'uuidReused',
  [rpc.draining]: 'busy',
};

/** What the server's error answer is to a caller. */
export function errorOfAnswer(answer: RpcError, details: ErrorDetails = {}): TertuliaError {
  const more: ErrorDetails = { ...details, rpcCode: answer.code, retryable: answer.retryable };
  if (answer.retryAfterMs !== undefined) more.retryAfterMs = answer.retryAfterMs;
  return new TertuliaError(codeOfRpc[answer.code] ?? 'protocol', answer.message, more);
}

/** An error answer as it came over the wire. */
export interface RpcError {
  code: number;
  message: string;
  retryable: boolean;
  retryAfterMs: number | undefined;
}
