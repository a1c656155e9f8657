import { describe, expect, it } from 'vitest';
import { Keyring, locationMatches } from '../../src/credentials/keyring.ts';
import {
  LOCATION_LENGTH_MAX,
  locationKey,
  parseLocation,
} from '../../src/credentials/registry-location.ts';

/** Finds which of the locations count for an image, in order. */
function found(locations: readonly string[], image: string): readonly string[] {
  const keyring = new Keyring<string>();
  for (const location of locations) keyring.add(location, location);
  return keyring.lookup(image);
}

describe('a keyring', () => {
  const cases: readonly (readonly [
    name: string,
    location: string,
    image: string,
    counts: boolean,
  ])[] = [
    ['the host', 'reg.io', 'reg.io/app', true],
    ['another host', 'reg.io', 'rag.io/app', false],
    ['a parent domain', 'reg.io', 'a.reg.io/app', false],
    ['a subdomain', 'a.reg.io', 'reg.io/app', false],
    ['other letter case', 'Reg.io', 'reg.io/app', false],
    ['the host with https', 'https://reg.io', 'reg.io/app', true],
    ['the host with http', 'http://reg.io', 'reg.io/app', true],
    ['the host with another scheme', 'ftp://reg.io', 'reg.io/app', false],
    ['the host with a slash', 'reg.io/', 'reg.io/app', true],
    ['the root of the API, version 1', 'https://reg.io/v1/', 'reg.io/app', true],
    ['the root of the API, version 2', 'reg.io/v2/', 'reg.io/app', true],
    ['the root of the API without a slash at its end', 'reg.io/v2', 'reg.io/app', false],
    ['a path under the root of the API', 'reg.io/v2/team', 'reg.io/team/app', true],
    ['a path that is named like the root of an API', 'reg.io/v2', 'reg.io/v2x/app', true],
    ['a user before the host', 'user@reg.io', 'reg.io/app', true],
    ['a query', 'reg.io/app?x=y', 'reg.io/app', true],
    ['a fragment', 'reg.io/app#x', 'reg.io/app', true],
    ['the port', 'reg.io:5000', 'reg.io:5000/app', true],
    ['a port that the image has not', 'reg.io:5000', 'reg.io/app', false],
    ['no port where the image has one', 'reg.io', 'reg.io:5000/app', false],
    ['another port', 'reg.io:5000', 'reg.io:5001/app', false],
    ['an empty port', 'reg.io:', 'reg.io/app', true],
    ['a glob as the port', 'reg.io:*', 'reg.io:5000/app', false],
    ['two ports', 'reg.io:80:80', 'reg.io:80/app', false],
    ['the whole path', 'reg.io/team/app', 'reg.io/team/app', true],
    ['a prefix of the path', 'reg.io/team', 'reg.io/team/app', true],
    ['a longer path', 'reg.io/team/app/x', 'reg.io/team/app', false],
    ['another path', 'reg.io/other', 'reg.io/team/app', false],
    // As upstream: a prefix of the text, not of the components.
    ['a path that ends inside a component', 'reg.io/te', 'reg.io/team/app', true],
    ['a path with a slash at its end', 'reg.io/team/', 'reg.io/team/app', true],
    ['a path with a slash at its end, and a longer name', 'reg.io/team/', 'reg.io/team-b', false],
    ['a percent-encoded path', 'reg.io/te%61m', 'reg.io/team/app', true],
    ['a damaged percent-encoding', 'reg.io/te%6', 'reg.io/team/app', false],
    ['a glob for one label', '*.reg.io', 'a.reg.io/app', true],
    ['a glob for no label', '*.reg.io', 'reg.io/app', false],
    ['a glob for two labels', '*.reg.io', 'a.b.reg.io/app', false],
    ['two globs for two labels', '*.*.reg.io', 'a.b.reg.io/app', true],
    ['a glob at the end of a label', 'app*.reg.io', 'app-1.reg.io/x', true],
    ['a glob for nothing', 'app*.reg.io', 'app.reg.io/x', true],
    ['a glob in the middle of a label', 'a*z.reg.io', 'abcz.reg.io/x', true],
    ['a glob whose ends would overlap', 'ab*ba.reg.io', 'aba.reg.io/x', false],
    ['several globs in a label', 'a*b*c.reg.io', 'axbybzc.reg.io/x', true],
    ['a glob as the last label', 'reg.*', 'reg.io/x', true],
    ['a glob as the only label', '*', 'localhost/x', true],
    ['a glob for two labels at once', '*', 'reg.io/x', false],
    ['a glob in the path', 'reg.io/te*', 'reg.io/team/x', false],
    ['a glob and a port', '*.io:5000', 'reg.io:5000/x', true],
    ['a question mark', 're?.io', 'reg.io/x', false],
    ['a class of characters', 're[g].io', 'reg.io/x', false],
    ['an address', '127.0.0.1:5000', '127.0.0.1:5000/x', true],
    ['an IPv6 address with a port', '[::1]:5000', '[::1]:5000/x', true],
    // As upstream, which takes the brackets for a class of characters.
    ['an IPv6 address without a port', '[::1]', '[::1]/x', false],
    ['something in brackets that is no address', '[x]:5000', '[::1]:5000/x', false],
    ['a blank', 'reg .io', 'reg.io/x', false],
    ['nothing', '', 'reg.io/x', false],
    ['a NUL', 'reg.io\0', 'reg.io/x', false],
    ['Docker Hub by its old name', 'https://index.docker.io/v1/', 'docker.io/library/x', true],
    ['Docker Hub by its index', 'index.docker.io', 'docker.io/team/x', true],
    ['Docker Hub by the name that images have', 'docker.io', 'docker.io/team/x', true],
    ['Docker Hub, of a team', 'docker.io/team', 'docker.io/team/x', true],
    ['a path of the old index', 'https://index.docker.io/v1/team', 'docker.io/team/x', false],
    ['Docker Hub for a registry on this machine', 'index.docker.io', 'localhost/x', false],
    ['Docker Hub for another registry', 'index.docker.io', 'reg.io/x', false],
    ['Docker Hub with a port', 'index.docker.io', 'docker.io:443/x', false],
  ];

  for (const [name, location, image, counts] of cases) {
    it(`${counts ? 'counts' : 'does not count'} ${name}: ${location} for ${image}`, () => {
      expect(found([location], image)).toEqual(counts ? [location] : []);
    });
  }

  it('gives all matches, longer paths of a host first, globs last', () => {
    const locations = ['reg.io', '*.io', 'reg.io/team', 'reg.io/team/app', 'r*.io/team', 'a.io'];
    expect(found(locations, 'reg.io/team/app')).toEqual([
      'reg.io/team/app',
      'reg.io/team',
      'reg.io',
      'r*.io/team',
      '*.io',
    ]);
  });

  it('gives what was added under one key in the order of adding, however it was spelled', () => {
    const locations = ['https://reg.io/v1/', 'reg.io', 'http://reg.io/', 'reg.io/v2/'];
    expect(found(locations, 'reg.io/x')).toEqual(locations);
  });

  it('uses the index of Docker Hub only where nothing else counts', () => {
    const index = 'https://index.docker.io/v1/';
    expect(found([index, 'docker.io/team'], 'docker.io/team/x')).toEqual(['docker.io/team']);
    expect(found([index, 'docker.io/team'], 'docker.io/other/x')).toEqual([index]);
  });

  it('finds few among very many, of one host and of many hosts', () => {
    const count = 10_000;
    const keyring = new Keyring<number>();
    for (let i = 0; i < count; i++) {
      keyring.add(`reg.io/team-${i}`, i);
      keyring.add(`reg-${i}.io`, count + i);
      keyring.add(`*.reg-${i}.io/team`, 2 * count + i);
    }
    expect(keyring.lookup('reg.io/team-77/app')).toEqual([77, 7]);
    expect(keyring.lookup('reg-9999.io/app')).toEqual([count + 9999]);
    expect(keyring.lookup('eu.reg-5.io/team/app')).toEqual([2 * count + 5]);
    expect(keyring.lookup('us.reg-5.io/app')).toEqual([]);
  });

  it('ends soon on patterns that are made to take long', () => {
    const pattern = `${'*a'.repeat(2_000)}.io`;
    expect(found([pattern], `${'a'.repeat(255)}b.io/x`)).toEqual([]);
  });
});

describe('a registry location', () => {
  it('is none where it is longer than the limit', () => {
    const path = '/x'.repeat(LOCATION_LENGTH_MAX);
    expect(locationKey(`reg.io${path}`.slice(0, LOCATION_LENGTH_MAX))).toBeDefined();
    expect(locationKey(`reg.io${path}`.slice(0, LOCATION_LENGTH_MAX + 1))).toBeUndefined();
  });

  it('is taken apart into host, port and path', () => {
    expect(parseLocation('reg.io:5000/a/b')).toEqual({
      host: 'reg.io',
      labels: ['reg', 'io'],
      port: '5000',
      path: '/a/b',
    });
    expect(parseLocation('[::1]:5000')).toEqual({
      host: '::1',
      labels: ['::1'],
      port: '5000',
      path: '',
    });
  });

  it('matches as in a keyring when a provider is configured with it', () => {
    const target = parseLocation('a.reg.io/team/app')!;
    expect(locationMatches(parseLocation('*.reg.io/te')!, target)).toBe(true);
    expect(locationMatches(parseLocation('*.reg.io/teams')!, target)).toBe(false);
    expect(locationMatches(parseLocation('[::1]')!, parseLocation('[::1]/x')!)).toBe(false);
  });
});
