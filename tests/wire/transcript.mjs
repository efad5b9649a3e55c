// Reads transcripts (README.md), fills in and compares their frames.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

/** Known from the beginning: two people with their keys, and the place before the first message of the room plaza. */
export const people = new Map([
  ['$anaKey', 'QW5hIGhhcyBhIGtleSBvZiBmb3J0eS10aHJlZSBjaGF'], ['$ana', '~5Kz7TGewo1ah4njnK0pllb'],
  ['$boKey', 'Qm8gaGFzIGEga2V5IG9mIGZvcnR5LXRocmVlIGNoYXJ'], ['$bo', '~q_h2JK7V0QPrzfUFNUC8oc'],
  ['$p0', '0-P1yYKTyn6NjCWRqI'],
]);

const directory = new URL('./transcripts/', import.meta.url);

/**
 * @typedef {{at: string, who: string, kind: '>'|'<'|'~'|'!'|'@'|'%', text: string, json?: any}} Line
 * @typedef {{name: string, lines: Line[], options: string[], library?: string}} Transcript
 */

/** @returns {Transcript[]} */
export function transcripts() {
  return readdirSync(directory).filter((file) => file.endsWith('.wire')).sort().map(read);
}

/** @param {string} file @returns {Transcript} */
function read(file) {
  /** @type {Transcript} */ const transcript = { name: file.replace(/\.wire$/, ''), lines: [], options: [] };
  readFileSync(new URL(file, directory), 'utf8').split('\n').forEach((line, i) => {
    const at = `${file}:${i + 1}`;
    if (line.trim() === '' || line.startsWith('#')) return;
    const directive = /^% (\S+) ?(.*)$/.exec(line);
    const opening = /^@ (\w+) (v2|classic)$/.exec(line);
    const said = /^(\w+)([><~!]) (.*)$/.exec(line);
    if (directive && directive[1] === 'option') transcript.options.push(...directive[2].split(' '));
    else if (directive && directive[1] === 'library') transcript.library = directive[2];
    else if (directive && directive[1] === 'drain') transcript.lines.push({ at, who: '', kind: '%', text: 'drain' });
    else if (opening) transcript.lines.push({ at, who: opening[1], kind: '@', text: opening[2] });
    else if (said) {
      const kind = /** @type {Line['kind']} */ (said[2]);
      transcript.lines.push({ at, who: said[1], kind, text: said[3], json: kind === '<' || kind === '~' ? JSON.parse(said[3]) : undefined });
    } else assert.fail(`${at}: what is ${line}?`);
  });
  return transcript;
}

const isVariable = (value) => typeof value === 'string' && value.startsWith('$');

/** The value with every variable replaced that is known. @param {any} template @param {Map<string, any>} known */
export function filled(template, known) {
  if (isVariable(template)) return known.has(template) ? known.get(template) : template;
  if (Array.isArray(template)) return template.map((each) => filled(each, known));
  if (template === null || typeof template !== 'object') return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, filled(value, known)]));
}

/** A client's line with its variables replaced; it need not be JSON. @param {string} text @param {Map<string, any>} known */
export function filledText(text, known) {
  return text.replace(/"(\$\w+)"/g, (all, variable) => (known.has(variable) ? JSON.stringify(known.get(variable)) : all));
}

/**
 * Whether `value` is what the template says. Variables that had no value take theirs from `value`, only if all fits.
 * @param {any} template @param {any} value @param {Map<string, any>} known
 */
export function matches(template, value, known) {
  /** @type {Map<string, any>} */ const taken = new Map();
  const fits = (/** @type {any} */ t, /** @type {any} */ v) => {
    if (t === '$_') return v !== undefined;
    if (isVariable(t)) {
      const before = taken.has(t) ? taken.get(t) : known.get(t);
      if (before !== undefined) return isDeepStrictEqual(before, v);
      taken.set(t, v);
      return v !== undefined;
    }
    if (Array.isArray(t)) return Array.isArray(v) && t.length === v.length && t.every((each, i) => fits(each, v[i]));
    if (t === null || typeof t !== 'object') return t === v;
    if (v === null || typeof v !== 'object' || Array.isArray(v)) return false;
    const keys = Object.keys(t);
    return keys.length === Object.keys(v).length && keys.every((key) => key in v && fits(t[key], v[key]));
  };
  if (!fits(template, value)) return false;
  for (const [variable, value] of taken) known.set(variable, value);
  return true;
}
