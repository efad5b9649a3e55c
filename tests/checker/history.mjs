// A history is a story in a file: the first line tells whose, each further line is an event, in the order in which it
// happened. A client writes it while it runs, so that what a killed client did and saw is kept too.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';

/** @typedef {import('./checker.mjs').Story} Story */

/** Thread: one writer a file. */
export class HistoryWriter {
  #file;

  /** @param {string} file @param {Omit<Story, 'events'>} whose */
  constructor(file, whose) {
    this.#file = file;
    writeFileSync(file, `${JSON.stringify(whose)}\n`);
  }
  /** @param {import('./checker.mjs').Event} event */
  write(event) {
    appendFileSync(this.#file, `${JSON.stringify(event)}\n`);
  }
}

/** @param {string} file @param {Story} story */
export function writeHistory(file, { events, ...whose }) {
  writeFileSync(file, [whose, ...events].map((line) => `${JSON.stringify(line)}\n`).join(''));
}

/** A last line that was cut by a kill does not count. @param {string} file @returns {Story} */
export function readHistory(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  lines.pop();
  if (lines.length === 0) throw new Error(`${file} is no history: it has no whole line`);
  const [whose, ...events] = lines.map((line, i) => {
    try {
      return JSON.parse(line);
    } catch (error) {
      throw new Error(`${file}, line ${i + 1}: ${error.message}`);
    }
  });
  if (!['v2', 'classic'].includes(whose.dialect)) throw new Error(`${file} is no history: its first line tells no dialect`);
  return { ...whose, events };
}
