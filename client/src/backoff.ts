// What a close code asks of a client, and how long it waits before it comes back. Pure.

/** `now`: come back at once, elsewhere; `later`: come back with back-off; `never`: do not come back. */
export type Return = 'now' | 'later' | 'never';

/**
 * A browser reports a cut connection, and one that never opened, as 1006, and a close without a code as 1005. What the
 * protocol does not name is treated with caution: later.
 */
export function returnOf(closeCode: number): Return {
  if (closeCode >= 4500 && closeCode <= 4999) return 'never';
  switch (closeCode) {
    case 1002:
    case 1003:
    case 1007:
    case 1009:
      return 'never';
    case 1001:
    case 1005:
    case 1006:
    case 1012:
    case 1013:
      return 'now';
    default:
      return 'later';
  }
}

export const firstAttemptMs = 1000;
export const backoffMinMs = 500;
export const backoffMaxMs = 10_000;

/** Full jitter: a random share of a span that doubles from 0.5 s to 10 s. `attempt` counts from 1; chance is in [0, 1). */
export function backoffMs(attempt: number, chance: number): number {
  const span = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(attempt - 1, 10));
  return Math.floor(chance * span);
}

/** The wait before connection attempt number `attempt` (from 0) since the last successful join. */
export function reconnectMs(how: 'now' | 'later', attempt: number, chance: number): number {
  if (how === 'now' && attempt === 0) return Math.floor(chance * firstAttemptMs);
  return backoffMs(Math.max(attempt, 1), chance);
}
