/**
 * A node agent in one file: reads what pods want, one JSON object a line, and answers each with the
 * image that it may use.
 *
 *   node agent.mjs unix:///run/containerd/containerd.sock ./records < pods.jsonl
 *
 * A line: { "podUid", "image", "pullPolicy", "secrets": [ as the Kubernetes API has them ] }
 */
import { createInterface } from 'node:readline';
import {
  CredentialLookup,
  criRuntime,
  EnsureImageError,
  ImageManager,
  PullManager,
} from 'pullwarden';

const [socket, path] = process.argv.slice(2);
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
  const { podUid, image, pullPolicy, secrets } = JSON.parse(line);
  // Asked for only where the answer depends on it.
  const credentials = () => lookup.pullCredentials({ image, secrets });
  try {
    const answer = await images.ensureImage({ podUid, image, pullPolicy, credentials });
    return { podUid, ...answer };
  } catch (error) {
    if (!(error instanceof EnsureImageError)) throw error;
    return { podUid, error: error.code, message: error.message };
  }
}

const serving = [];
for await (const line of createInterface({ input: process.stdin })) {
  serving.push(serve(line).then((answer) => console.log(JSON.stringify(answer))));
}
await Promise.all(serving);
await images.close();
await pullManager.close();
await lookup.close();
await runtime.close();
