import { describe, expect, it } from 'vitest';
import { authConfig, imageFilesystem, serverUrl } from '../../../src/runtime/cri/messages.ts';

describe('authConfig', () => {
  it('sends what CRI knows of a credential, under its names', () => {
    const auth = {
      username: 'u',
      password: 'p',
      auth: 'a',
      email: 'e',
      serverAddress: 'https://r.io',
      identityToken: 'i',
      registryToken: 'r',
    };
    expect(authConfig(auth)).toEqual({
      username: 'u',
      password: 'p',
      auth: 'a',
      serverAddress: 'https://r.io',
      identityToken: 'i',
      registryToken: 'r',
    });
  });

  it('sends only what there is', () => {
    expect(authConfig({ username: 'u', serverAddress: '' })).toEqual({ username: 'u' });
    expect(authConfig({})).toEqual({});
  });

  it('names a field that is not a text, and not its value', () => {
    const auth = { password: ['hunter2'] } as unknown as { password: string };
    expect(() => authConfig(auth)).toThrow(
      expect.objectContaining({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument: 'auth.password',
        message: expect.not.stringContaining('hunter2') as string,
      }),
    );
  });
});

describe('serverUrl', () => {
  it.each([
    ['r.io', 'https://r.io'],
    ['127.0.0.1:5000', 'https://127.0.0.1:5000'],
    ['localhost:5000/team', 'https://localhost:5000/team'],
    ['http://r.io:80', 'http://r.io:80'],
    ['https://r.io/v2/', 'https://r.io/v2/'],
    ['https://index.docker.io/v1/', 'https://registry-1.docker.io'],
    ['docker.io', 'https://registry-1.docker.io'],
    ['index.docker.io', 'https://registry-1.docker.io'],
    ['https://registry-1.docker.io', 'https://registry-1.docker.io'],
    ['docker.io.example.com', 'https://docker.io.example.com'],
    ['mydocker.io', 'https://mydocker.io'],
  ])('makes of %s the address %s', (address, url) => {
    expect(serverUrl(address)).toBe(url);
  });
});

describe('imageFilesystem', () => {
  it('has no inodes where the runtime counts none', () => {
    const usage = { timestamp: 1.5e18, fsId: null, usedBytes: { value: 7 }, inodesUsed: null };
    expect(imageFilesystem(usage)).toEqual({
      mountpoint: '',
      usedBytes: 7,
      measuredAt: new Date(1.5e12),
    });
  });
});
