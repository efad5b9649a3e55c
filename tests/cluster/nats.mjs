// NATS servers on this machine, joined by routes: the bus of a cluster.
import http from 'node:http';
import { join } from 'node:path';
import { freePort, needProgram, Program } from './program.mjs';
import { until } from '../system/lib/until.mjs';

export class NatsServer extends Program {
  /** @param {ConstructorParameters<typeof Program>[0] & {port: number, monitorPort: number}} options */
  constructor(options) {
    super(options);
    this.port = options.port;
    this.monitorPort = options.monitorPort;
  }
  get url() {
    return `nats://127.0.0.1:${this.port}`;
  }
  /** What it says about itself: varz, connz, routez, subsz. @param {string} page @returns {Promise<any>} */
  async tells(page) {
    return JSON.parse(await getText(`http://127.0.0.1:${this.monitorPort}/${page}`));
  }
}

/**
 * @param {{count?: number, folder: string}} options
 * @returns {Promise<NatsServer[]>} all ready, each with a route to every other
 */
export async function startNats({ count = 3, folder }) {
  const program = needProgram('nats-server');
  const ports = [];
  for (let i = 0; i < count; ++i) ports.push({ client: await freePort(), route: await freePort(), monitor: await freePort() });
  const servers = ports.map(({ client, route, monitor }, i) => {
    const name = `nats${i + 1}`;
    const others = ports.filter((_, other) => other !== i).map((other) => `nats://127.0.0.1:${other.route}`);
    const clustered = count > 1
      ? ['--cluster_name', 'tertulia', '--cluster', `nats://127.0.0.1:${route}`, '--routes', others.join(','),
        // Nodes are told of all of them, and shall not find ways around what a test has put in between.
        '--no_advertise'] : [];
    return new NatsServer({
      name, port: client, monitorPort: monitor, logFile: join(folder, `${name}.log`),
      command: [program, '--name', name, '--addr', '127.0.0.1', '--port', String(client),
        '--http_port', String(monitor), ...clustered],
      isReady: async () => (await getText(`http://127.0.0.1:${monitor}/healthz`).catch(() => '')).includes('ok'),
    });
  });
  await Promise.all(servers.map((server) => server.start()));
  await until('the NATS servers know one another', async () => {
    const routes = await Promise.all(servers.map((server) => server.tells('routez')));
    return routes.every(({ routes: known }) => new Set(known.map((each) => each.remote_id)).size === count - 1);
  });
  return servers;
}

/** What --bus takes. @param {{port: number}[]} servers */
export function natsUrl(servers) {
  return `nats://${servers.map((server) => `127.0.0.1:${server.port}`).join(',')}`;
}

function getText(url) {
  return new Promise((done, failed) => {
    http.get(url, { agent: false, timeout: 5_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; });
      response.on('end', () => done(body));
    }).on('error', failed).on('timeout', function late() { this.destroy(new Error(`${url} does not answer`)); });
  });
}
