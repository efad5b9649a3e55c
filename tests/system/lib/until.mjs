// Tests wait for what they need, never for a time.

/** How much longer everything may take: what stands in for MongoDB looks through a whole collection for most questions. */
export const slowness = process.env.TERTULIA_TEST_SETUP?.endsWith('mongodb') && !process.env.MONGODB_URL ? 5 : 1;

/**
 * Asks until the answer is true. An error of the condition's own ends the wait.
 * @template T
 * @param {string} what said when the deadline has passed
 * @param {() => T|Promise<T>} condition
 * @param {number} [withinMs]
 * @param {() => unknown} [describe] told with the failure
 * @returns {Promise<T>} the condition's first truthy value
 */
export async function until(what, condition, withinMs = 20_000, describe) {
  withinMs *= slowness;
  const deadline = performance.now() + withinMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) {
      const more = describe ? `: ${JSON.stringify(await describe())}` : '';
      throw new Error(`not within ${withinMs} ms: ${what}${more}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * @template T @param {string} what @param {Promise<T>} promise @param {number} [withinMs] @returns {Promise<T>}
 */
export function within(what, promise, withinMs = 20_000) {
  withinMs *= slowness;
  /** @type {NodeJS.Timeout} */ let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${withinMs} ms: ${what}`)), withinMs);
  });
  return Promise.race([promise, /** @type {Promise<never>} */ (late)]).finally(() => clearTimeout(timer));
}
