/**
 * A node agent in one file: reads what pods want, one JSON object a line, and answers each with the
 * image that it may use.
 *
 *   node agent.mjs unix:///run/containerd/containerd.sock /var/lib/agent/records < pods.jsonl
 *
 * A line: { "podUid", "image", "pullPolicy", "secrets": [ as the Kubernetes API has them ] }
 */
import { createInterface } from 'node:readline';
import { CredentialLookup, criRuntime, ImageManager, PullManager } from 'pullwarden';

const [socket, path] = process.argv.slice(2);
if (path === undefined) throw new Error('usage: node agent.mjs SOCKET RECORDS < PODS');
const runtime = criRuntime({ socket });
const lookup = await CredentialLookup.open();
const pullManager = await PullManager.open({
  store: { kind: 'journal', path },
  // Pulls that were under way when the last agent ended are looked into.
  imageService: runtime,
});
const images = new ImageManager({
  pullManager,
  runtime,
  maxParallelPulls: 5,
  // Records of images that are gone go, too.
  collectEveryMs: 300_000,
});

async function serve(line) {
  let podUid;
  try {
    const { image, pullPolicy, secrets, ...pod } = JSON.parse(line);
    podUid = pod.podUid;
    // Asked for only where the answer depends on it.
    const credentials = () => lookup.pullCredentials({ image, secrets });
    return { podUid, ...(await images.ensureImage({ podUid, image, pullPolicy, credentials })) };
  } catch ({ code, name, message }) {
    return { podUid, error: code ?? name, message };
  }
}

const serving = new Set();
for await (const line of createInterface({ input: process.stdin })) {
  const served = serve(line).then((answer) => console.log(JSON.stringify(answer)));
  serving.add(served);
  void served.finally(() => serving.delete(served));
}
await Promise.all(serving);
await images.close();
await pullManager.close();
await lookup.close();
await runtime.close();
