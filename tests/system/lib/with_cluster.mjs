// A cluster for tests that are about several nodes: they say what it is made of, TERTULIA_TEST_SETUP at most the store.
import { Cluster } from '../../cluster/cluster.mjs';
import { releasedBinary, setup } from './server.mjs';

export const clusterStore = setup === 'cluster-mongodb' ? 'mongodb' : 'postgresql';

/**
 * Runs `body` with a cluster that ends with it. If the body fails, the error shows the ends of all logs.
 * @template T
 * @param {import('../../cluster/cluster.mjs').ClusterOptions} options
 * @param {(cluster: Cluster) => Promise<T>} body
 */
export async function withCluster(options, body) {
  const cluster = await Cluster.start({ store: clusterStore, natsCount: 1, fast: true, binary: releasedBinary, ...options });
  try {
    return await body(cluster);
  } catch (error) {
    throw cluster.explain(error);
  } finally {
    await cluster.stop();
  }
}
