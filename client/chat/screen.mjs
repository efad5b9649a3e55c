// The terminal, or a pipe: lines come in without hurting the line that is being typed.
import readline from 'node:readline';

const escapes = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?/g;
const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** What others wrote, without anything that a terminal would obey. Further lines are indented: nobody can forge a line. */
export function harmless(text) {
  return text.replace(/\r\n?/g, '\n').replace(escapes, '').replace(controls, '').replace(/\t/g, ' ').replace(/\n/g, '\n      ');
}

export class Screen {
  #lines;
  #terminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  #prompt = '';
  #ended = false;
  #colour = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;

  constructor() {
    this.#lines = readline.createInterface({
      input: process.stdin,
      output: this.#terminal ? process.stdout : undefined,
      terminal: this.#terminal,
      prompt: '',
      historySize: 100,
    });
  }

  get terminal() {
    return this.#terminal;
  }

  /** Each line that is typed, the end of the input, Ctrl-C (and what ends programs). */
  on({ line, end, interrupt }) {
    this.#lines.on('line', (text) => {
      if (this.#terminal) this.#rubOut();
      line(text);
    });
    this.#lines.on('close', () => {
      this.#ended = true;
      end();
    });
    this.#lines.on('SIGINT', interrupt);
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
  }

  /** Whether more input is wanted. What was read already still comes. */
  flow(wanted) {
    if (this.#terminal || this.#ended) return;
    if (wanted) this.#lines.resume();
    else this.#lines.pause();
  }

  end() {
    if (this.#terminal) this.print('', true);
    this.#terminal = false;
    this.#ended = true;
    this.#lines.close();
    process.stdin.destroy();
  }

  /** What stands before the line that is being typed. */
  prompt(text) {
    if (text === this.#prompt) return;
    this.#prompt = text;
    this.#lines.setPrompt(text);
    if (this.#terminal) this.#lines.prompt(true);
  }

  print(text, bare = false) {
    if (!this.#terminal) {
      if (!bare) process.stdout.write(`${text}\n`);
      return;
    }
    const { rows } = this.#lines.getCursorPos();
    readline.moveCursor(process.stdout, 0, -rows);
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    if (bare) return;
    process.stdout.write(`${text}\n`);
    this.#lines.prevRows = 0; // the prompt is on a fresh line: nothing above belongs to it
    this.#lines.prompt(true);
  }

  quiet(text) {
    return this.#colour ? `\x1b[2m${text}\x1b[22m` : text;
  }

  bold(text) {
    return this.#colour ? `\x1b[1m${text}\x1b[22m` : text;
  }

  // The line that was entered comes back from the server as a message; it need not stand there twice.
  #rubOut() {
    readline.moveCursor(process.stdout, 0, -1);
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    this.#lines.prompt(true);
  }
}
