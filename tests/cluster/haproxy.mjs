// HAProxy before the nodes of a cluster: one address for all of them. What stands here is what we advise to operators.
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { freePort, needProgram, Program, takesConnections } from './program.mjs';

/**
 * @param {{listen: string, controlSocket: string, nodes: {name: string, port: number, internalPort: number}[]}} options
 * @returns {string} the configuration
 */
export function haproxyConfig({ listen, controlSocket, nodes }) {
  return `global
  # As many connections as files allow; without a bound it would take memory for a billion where they are unlimited.
  fd-hard-limit 50000
  stats socket ${controlSocket} mode 600 level admin
  log stdout format raw local0

defaults
  mode http
  log global
  option dontlog-normal
  # The client's address for the nodes, which believe it from here (--trusted-proxies).
  option forwardfor
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout http-request 10s
  timeout queue 5s
  # A WebSocket: the server pings every 15 s, and a classic client may block for 10 minutes.
  timeout tunnel 1h
  timeout client-fin 30s
  # A node that refuses, that dies before it has answered, or that is leaving (503): another one is asked at once.
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response 503

frontend chat
  bind ${listen}
  default_backend nodes

backend nodes
  balance leastconn
  # A WebSocket is never repeated: only the request for it, as long as no node has answered.
  http-request disable-l7-retry unless METH_GET
  option httpchk
  http-check send meth GET uri /readyz
  # 503: it drains. It gets nobody new and keeps whom it has, for it asks them itself to go. No answer: it is dead or
  # frozen, and its connections are cut, so that their clients need not find that out by themselves.
  http-check expect status 200 error-status L7OKC
  timeout check 1s
  default-server check inter 500ms fastinter 250ms downinter 250ms fall 2 rise 1 on-marked-down shutdown-sessions
${nodes.map(({ name, port, internalPort }) => `  server ${name} 127.0.0.1:${port} port ${internalPort}`).join('\n')}
`;
}

export class Haproxy extends Program {
  /** @param {ConstructorParameters<typeof Program>[0] & {host: string, port: number, controlSocket: string}} options */
  constructor(options) {
    const host = options.host === '0.0.0.0' ? '127.0.0.1' : options.host;
    super({
      ...options,
      isReady: async () => await takesConnections(host, options.port) && this.nodes().then(() => true, () => false),
    });
    this.host = options.host;
    this.port = options.port;
    this.controlSocket = options.controlSocket;
  }

  /**
   * @param {{folder: string, host?: string, port?: number, nodes: {name: string, port: number, internalPort: number}[]}} options
   * @returns {Promise<Haproxy>}
   */
  static async start({ folder, host = '127.0.0.1', port, nodes }) {
    const program = needProgram('haproxy');
    const listenPort = port ?? await freePort();
    const config = join(folder, 'haproxy.cfg'), controlSocket = join(folder, 'haproxy.socket');
    writeFileSync(config, haproxyConfig({ listen: `${host}:${listenPort}`, controlSocket, nodes }));
    const haproxy = new Haproxy({
      name: 'haproxy', logFile: join(folder, 'haproxy.log'), host, port: listenPort, controlSocket,
      // -db: not in the background. One process, so that its death is the death of all of it.
      command: [program, '-db', '-f', config],
    });
    await haproxy.start();
    return haproxy;
  }

  /** What it thinks of each node: UP, DOWN, NOLB …, and how many connections it carries there. @returns {Promise<Map<string, {status: string, sessions: number}>>} */
  async nodes() {
    const lines = (await this.#ask('show stat nodes 4 -1')).split('\n').filter((line) => line !== '');
    const columns = lines[0].replace(/^# /, '').split(',');
    const found = new Map();
    for (const line of lines.slice(1)) {
      const values = line.split(',');
      const value = (column) => values[columns.indexOf(column)];
      found.set(value('svname'), { status: value('status'), sessions: Number(value('scur')) });
    }
    return found;
  }

  #ask(command) {
    return new Promise((done, failed) => {
      let said = '';
      const socket = net.connect(this.controlSocket, () => socket.write(`${command}\n`));
      socket.setEncoding('utf8').setTimeout(5_000, () => socket.destroy(new Error('haproxy does not answer')));
      socket.on('data', (text) => { said += text; }).on('end', () => done(said)).on('error', failed);
    });
  }
}
