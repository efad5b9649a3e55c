// Runs blocking_loop.mjs in a thread of its own.
import { Worker } from 'node:worker_threads';

/**
 * @param {import('./blocking_loop.mjs').Loop} loop
 * @param {() => void} [onLooped] called when the loop has ended, before anything is read
 * @returns {Promise<{blockedMs: number, framesWritten: number, users: {userName: string, acked: number, heard: string[],
 *   texts: string[], closes: object[], errors: object[], violations: string[], open: number}[]}>}
 */
export function runBlockingLoop(loop, onLooped = () => {}) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./blocking_loop.mjs', import.meta.url), { workerData: loop });
    let result;
    worker.on('message', (message) => { if (message.looped) onLooped(); else result = message; });
    worker.on('error', reject);
    worker.on('exit', () => (result ? resolve(result) : reject(new Error('the blocked clients ended without a result'))));
  });
}
