/** The examples of docs/credentials.md. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { readmeSnippets } from '../../scripts/readme-snippets.mjs';
import { CredentialLookup } from '../../src/credentials/credential-lookup.ts';
import type { PodServiceAccount } from '../../src/credentials/pod-identity.ts';
import type { PullCredential } from '../../src/credentials/pull-credential.ts';
import { temporaryDirectory, writeProgram } from './programs.ts';

const DOCUMENT = readFileSync(new URL('../../docs/credentials.md', import.meta.url), 'utf8');
const BLOCKS = [...DOCUMENT.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);

function block(mark: string): string {
  const found = BLOCKS.filter((text) => text.includes(mark));
  expect(found).toHaveLength(1);
  return found[0]!;
}

/** The files of the document, with programs that answer what it says. */
function files() {
  const directory = temporaryDirectory();
  const nodeConfigFile = join(directory, 'config.json');
  const providerConfigFile = join(directory, 'providers.json');
  writeFileSync(nodeConfigFile, block('"auths"'));
  writeFileSync(providerConfigFile, block('CredentialProviderConfig'));
  const answer = `cat > /dev/null; cat <<'END'\n${block('CredentialProviderResponse')}\nEND`;
  for (const name of ['ecr-credential-provider', 'token-exchange']) {
    writeProgram(directory, name, answer);
  }
  for (const helper of ['gcloud', 'secretservice']) {
    writeProgram(
      directory,
      `docker-credential-${helper}`,
      `[ "$1" = get ] || exit 3; echo '{"Username":"${helper}","Secret":"'$(cat)'"}'`,
    );
  }
  return { directory, nodeConfigFile, providerConfigFile };
}

it('finds what the configurations of the document hold', async () => {
  const { directory, nodeConfigFile, providerConfigFile } = files();
  const lookup = await CredentialLookup.open({
    nodeConfigFiles: [nodeConfigFile],
    providerConfigFile,
    providerBinDir: directory,
    helperPath: directory,
  });
  onTestFinished(() => lookup.close());
  const serviceAccount: PodServiceAccount = {
    uid: '31aa',
    namespace: 'team-a',
    name: 'builder',
    annotations: { 'example.com/role': 'puller' },
    token: () => 'a token',
  };
  const found = async (image: string) => {
    const credentials = await lookup.pullCredentials({ image, serviceAccount });
    return credentials.map(({ auth, source }) => [source.kind, { ...auth }]);
  };
  expect(await found('registry.example.com/team-b/app')).toEqual([
    ['node', { username: 'secretservice', password: 'registry.example.com' }],
    ['node', { username: 'robot', password: 'secret' }],
    ['node', { username: 'user', password: 'password' }],
    ['serviceAccount', { username: 'robot', password: 'secret' }],
  ]);
  expect(await found('team.azurecr.io/app')).toEqual([
    ['node', { username: 'secretservice', password: 'team.azurecr.io' }],
    ['node', { username: 'robot', identityToken: 'token' }],
  ]);
  expect(await found('gcr.io/x/app')).toEqual([
    ['node', { username: 'gcloud', password: 'gcr.io' }],
  ]);
  expect(await found('ubuntu')).toEqual([
    ['node', { username: 'secretservice', password: 'https://index.docker.io/v1/' }],
  ]);
});

it('runs the example of the document', async () => {
  const { directory, nodeConfigFile, providerConfigFile } = files();
  const [snippet] = readmeSnippets(DOCUMENT);
  // `await` at the top and `import` stand in a function here; the paths are those of this test.
  const body = snippet!.code
    .replace(/^import .*$/m, '')
    .replace('/root/.docker/config.json', nodeConfigFile)
    .replace('/etc/pullwarden/providers.json', providerConfigFile)
    .replace('/usr/libexec/credential-providers', directory);
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const module = join(bin, 'example.mjs');
  writeFileSync(
    module,
    `export default async (CredentialLookup) => {${body}\nreturn credentials;};`,
  );
  const example = (await import(module)) as {
    default(of: typeof CredentialLookup): Promise<readonly PullCredential[]>;
  };
  const path = process.env.PATH;
  process.env.PATH = `${directory}:${path}`;
  onTestFinished(() => {
    process.env.PATH = path;
  });
  const credentials = await example.default(CredentialLookup);
  expect(credentials.map(({ source }) => source.kind)).toEqual(['node', 'node']);
});
