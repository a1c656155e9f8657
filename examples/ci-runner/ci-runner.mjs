/**
 * A CI runner that two teams share. Team A's build image is private. Its jobs run; those of team B,
 * which names the same image, do not, although the image is on the machine: until team B has rights of
 * its own.
 *
 *   node ci-runner.mjs SOCKET RECORDS IMAGE team-a=DOCKER_CONFIG team-b=DOCKER_CONFIG …
 *
 * Runs one job for each team named, in that order, and says how it went; exit code 1 where one did not
 * run. RECORDS is a directory that has to last as long as the images on the machine do: an image of
 * which nothing is recorded counts as preloaded, and is everybody's.
 */
import { readFile } from 'node:fs/promises';
import { CredentialLookup, criRuntime, ImageManager, PullManager } from 'pullwarden';

const [socket, path, image, ...jobs] = process.argv.slice(2);
if (jobs.length === 0)
  throw new Error('usage: node ci-runner.mjs SOCKET RECORDS IMAGE TEAM=FILE …');
const runtime = criRuntime({ socket });
const lookup = await CredentialLookup.open();
const pullManager = await PullManager.open({
  store: { kind: 'journal', path },
  imageService: runtime,
});
const images = new ImageManager({ pullManager, runtime });

/** The team's docker configuration, as the secret that it is in a cluster. */
async function secretOf(team, configFile) {
  return {
    uid: team,
    namespace: team,
    name: 'registry',
    type: 'kubernetes.io/dockerconfigjson',
    data: { '.dockerconfigjson': await readFile(configFile) },
  };
}

async function run(team, configFile, number) {
  const secrets = [await secretOf(team, configFile)];
  const { imageRef, pulled } = await images.ensureImage({
    image,
    // Without pullwarden, this is what would let team B in.
    pullPolicy: 'IfNotPresent',
    podUid: `${team}-${number}`,
    credentials: () => lookup.pullCredentials({ image, secrets }),
  });
  // Here the runner would start the job from `imageRef`.
  return `runs ${imageRef.slice(0, 19)}… ${pulled ? '(the registry was asked)' : '(without the registry)'}`;
}

for (const [number, job] of jobs.entries()) {
  const [team, configFile] = job.split('=');
  try {
    console.log(`${team}'s job ${await run(team, configFile, number)}`);
  } catch ({ code, message }) {
    console.log(`${team}'s job is refused: ${code ?? message}`);
    process.exitCode = 1;
  }
}
await images.close();
await pullManager.close();
await lookup.close();
await runtime.close();
