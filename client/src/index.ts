export { Client } from './client.js';
export { Room } from './room.js';
export { TertuliaError, type ErrorCode, type ErrorDetails, type Outcome } from './errors.js';
export { chainNext, chainStart, chainText, parsePosition, positionText, userIdOfKey } from './chain.js';
export type { Chained, Position } from './chain.js';
export type * from './types.js';
