import { expect, it } from 'vitest';
import { examplesOf, printedBy } from '../support/documents.ts';
import { passwordOf } from './agent.ts';
import { describeReal } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

describeReal('docs/image-manager.md', (components) => {
  it('has an example that pulls a private image', async () => {
    const image = buildImage({ content: 'document' });
    const name = await components.registry.push(image, 'team-a/app', 'v1');
    components.tokenServer.setUser('team-a', {
      password: passwordOf('team-a'),
      repositories: ['team-a/app'],
    });
    const [example] = examplesOf('image-manager.md');
    const code = example!.code
      .replace('unix:///run/containerd/containerd.sock', components.containerd.socket)
      .replace('registry.example.com/team-a/app:1', name)
      .replace('from the pull secret', passwordOf('team-a'))
      .replace('./records', components.directoryOf('records'));
    expect((await printedBy(code)).trim()).toBe(`pulled ${image.id}`);
  });
});
