import * as promClient from 'prom-client';
import { describe, expect, it } from 'vitest';
import { METRIC_FAMILIES } from '../../src/metrics/exposition.ts';
import { promClientCollector } from '../../src/metrics/prom-client.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { openEngine, shapeOf } from '../support/engines.ts';

const { Counter, Registry } = promClient;
const SHAPE = shapeOf('memory', 0, 31);
const A = secret('a');

/** Lines of an exposition that say something. */
function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}

async function busy(manager: PullManager): Promise<void> {
  await manager.recordPullIntent('app');
  await manager.recordImagePulled('other', 'ref', { kubernetesSecrets: [A] });
  await manager.mustAttemptImagePull('other', 'ref', { secrets: [A] });
  await manager.mustAttemptImagePull('other', 'ref');
  await manager.mustAttemptImagePull('Bad Name', 'ref');
  await manager.mustAttemptImagePull('preloaded', 'none');
  await manager.mustAttemptImagePull('other', '');
}

describe.each([shapeOf('memory', 0, 31), shapeOf('memory', 1, 31)])(
  'the collector of an engine with $name',
  (shape) => {
    it('gives line by line what the manager prints, from the start and as it changes', async () => {
      const manager = await openEngine(shape);
      const registry = new Registry();
      promClientCollector(manager, { promClient, registry });
      expect(lines(await registry.metrics())).toEqual(lines(await manager.metrics()));
      for (let round = 0; round < 3; round++) {
        await busy(manager);
        const text = lines(await registry.metrics());
        expect(text).toEqual(lines(await manager.metrics()));
        expect(text).toContain(
          `kubelet_imagemanager_image_mustpull_checks_total{result="error"} ${round + 1}`,
        );
        expect(text).toContain('kubelet_imagemanager_ondisk_pullintents 1');
        // A scrape changes nothing.
        expect(lines(await registry.metrics())).toEqual(text);
      }
    });
  },
);

describe('the collector', () => {
  it('uses the global registry of the module where none is given', async () => {
    const manager = await openEngine(SHAPE);
    const collector = promClientCollector(manager, { promClient });
    expect(lines(await promClient.register.metrics())).toEqual(lines(await manager.metrics()));
    collector.remove();
    expect(promClient.register.getMetricsAsArray()).toEqual([]);
  });

  it('serves OpenMetrics too', async () => {
    const manager = await openEngine(SHAPE);
    await busy(manager);
    const registry = new Registry<promClient.OpenMetricsContentType>();
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    const collector = promClientCollector(manager, { promClient, registry });
    const text = await registry.metrics();
    expect(text).toContain('# TYPE kubelet_imagemanager_image_mustpull_checks counter');
    expect(text).toContain('kubelet_imagemanager_image_mustpull_checks_total{result="error"} 1');
    collector.remove();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it('keeps several managers in one registry apart by their labels', async () => {
    const one = await openEngine(SHAPE);
    const two = await openEngine(SHAPE);
    await busy(one);
    const registry = new Registry();
    const first = promClientCollector(one, { promClient, registry, labels: { node: 'one' } });
    promClientCollector(two, { promClient, registry, labels: { node: 'two' } });
    const text = await registry.metrics();
    expect(text).toContain('kubelet_imagemanager_ondisk_pullintents{node="one"} 1');
    expect(text).toContain('kubelet_imagemanager_ondisk_pullintents{node="two"} 0');
    expect(text).toContain('checks_total{node="one",result="credentialPolicyAllowed"} 1');
    expect(text).toContain('checks_total{node="two",result="credentialPolicyAllowed"} 0');
    first.remove();
    first.remove();
    const left = await registry.metrics();
    expect(left).not.toContain('node="one"');
    expect(left).toContain('node="two"');
    // The place is free again.
    promClientCollector(one, { promClient, registry, labels: { node: 'one' } });
    expect(await registry.metrics()).toContain('node="one"');
  });

  it('serves one manager to several registries', async () => {
    const manager = await openEngine(SHAPE);
    const registries = [new Registry(), new Registry()];
    const [first] = registries.map((registry) =>
      promClientCollector(manager, { promClient, registry }),
    );
    await busy(manager);
    for (const registry of registries) {
      expect(lines(await registry.metrics())).toEqual(lines(await manager.metrics()));
    }
    first![Symbol.dispose]();
    expect(lines(await registries[0]!.metrics())).toEqual([]);
    expect(lines(await registries[1]!.metrics())).toEqual(lines(await manager.metrics()));
  });

  it('sees what attached managers do, and leaves when the one it was given closes', async () => {
    const manager = await openEngine(SHAPE);
    const attached = await PullManager.attach(manager.handle);
    const registry = new Registry();
    promClientCollector(attached, { promClient, registry });
    await busy(manager);
    expect(await registry.metrics()).toContain('{result="error"} 1');
    await attached.close();
    expect(registry.getMetricsAsArray()).toEqual([]);
    expect(() => promClientCollector(attached, { promClient, registry })).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_CLOSED' }),
    );
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it('makes room for the next manager as soon as closing begins', async () => {
    const registry = new Registry();
    for (let i = 0; i < 3; i++) {
      const manager = await openEngine(SHAPE);
      promClientCollector(manager, { promClient, registry });
      expect(registry.getMetricsAsArray()).toHaveLength(METRIC_FAMILIES.length);
      const closed = manager.close();
      expect(registry.getMetricsAsArray()).toEqual([]);
      await closed;
    }
  });

  it('can be registered again after the registry was cleared, and the old one removed then', async () => {
    const manager = await openEngine(SHAPE);
    const registry = new Registry();
    const old = promClientCollector(manager, { promClient, registry });
    registry.clear();
    promClientCollector(manager, { promClient, registry });
    old.remove();
    expect(lines(await registry.metrics())).toEqual(lines(await manager.metrics()));
  });

  it('leaves a registry alone that has one of the names already', async () => {
    const manager = await openEngine(SHAPE);
    const registry = new Registry();
    const { name } = METRIC_FAMILIES.at(-1)!;
    const own = new Counter({ name, help: 'own', registers: [registry] });
    expect(() => promClientCollector(manager, { promClient, registry })).toThrow(name);
    expect(registry.getMetricsAsArray()).toEqual([own]);
  });

  it.each([
    { name: 'no options', options: undefined, argument: 'options' },
    { name: 'no module', options: {}, argument: 'options.promClient' },
    {
      name: 'a module of something else',
      options: { promClient: { Gauge: 1 } },
      argument: 'options.promClient',
    },
    {
      name: 'no registry',
      options: { promClient, registry: {} },
      argument: 'options.registry',
    },
    {
      name: 'labels that are no object',
      options: { promClient, labels: 'a' },
      argument: 'options.labels',
    },
    {
      name: 'a label that is taken',
      options: { promClient, labels: { result: 'a' } },
      argument: 'options.labels',
    },
    {
      name: 'a label that is no name',
      options: { promClient, labels: { 'a-b': 'a' } },
      argument: 'options.labels',
    },
    {
      name: 'a reserved label',
      options: { promClient, labels: { __name__: 'a' } },
      argument: 'options.labels',
    },
    {
      name: 'a label that is no text',
      options: { promClient, labels: { node: 5 } },
      argument: 'options.labels.node',
    },
  ])('refuses $name', async ({ options, argument }) => {
    const manager = await openEngine(SHAPE);
    expect(() => promClientCollector(manager, options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT', argument }),
    );
  });

  it.each([
    { name: 'the same labels', labels: { node: 'one' } },
    { name: 'other names of labels', labels: { zone: 'one' } },
    { name: 'no labels beside labelled ones', labels: {} },
  ])('refuses $name in one registry', async ({ labels }) => {
    const manager = await openEngine(SHAPE);
    const registry = new Registry();
    promClientCollector(manager, { promClient, registry, labels: { node: 'one' } });
    const before = lines(await registry.metrics());
    expect(() => promClientCollector(manager, { promClient, registry, labels })).toThrow(
      expect.objectContaining({ argument: 'options.labels' }),
    );
    expect(lines(await registry.metrics())).toEqual(before);
  });
});
