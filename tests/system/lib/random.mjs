// Chance that can be had again: TERTULIA_SEED=N repeats what a run printed. Real sockets and processes keep their
// own timing, so it repeats the plan of a run (who says what and when, when the server is killed), not every byte.

/** The seed of this process, printed first. */
export const seed = Number(process.env.TERTULIA_SEED ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
console.log(`# seed ${seed} (TERTULIA_SEED=${seed} repeats it)`);

/** A stream of its own for each name, so that one more draw in one place changes nothing elsewhere. @param {string} name */
export function random(name) {
  let state = seed;
  for (const char of name) state = Math.imul(state ^ char.charCodeAt(0), 0x01000193) >>> 0;
  const next = () => {  // a Weyl sequence through a mixer
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    /** @param {number} min @param {number} max inclusive */
    between: (min, max) => min + next() * (max - min),
    /** @param {number} count @returns {number} 0 to count-1 */
    below: (count) => Math.floor(next() * count),
  };
}
