/** Locations of registries, and image names that are looked up: `location\n…\n\nimage name`. */
import { Keyring, locationMatches } from '../../../../src/credentials/keyring.ts';
import {
  LOCATION_LENGTH_MAX,
  locationKey,
  parseLocation,
} from '../../../../src/credentials/registry-location.ts';
import type { Random } from '../../../../src/util/random.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { numbered, repeated, upTo } from './shapes.ts';

const IMAGE = 'registry.example.com:5000/team/app';

export const registryLocations: FuzzTarget = {
  name: 'registry-locations',
  unit: 'keyrings with an image',
  modules: ['src/credentials/registry-location', 'src/credentials/keyring'],
  words: [
    'https://',
    '*',
    '*.',
    '%41',
    '%',
    '[::1]',
    ':',
    '@',
    '?',
    '#',
    '/v1/',
    '/',
    '\n',
    '\n\n',
    IMAGE,
  ],
  make(random) {
    const locations = several(random, 5, () => locationOf(random));
    return Buffer.from(
      `${locations.join('\n')}\n\n${happens(random, 0.7) ? IMAGE : oddText(random)}`,
    );
  },
  feed,
  worstCases: [
    numbered('locations', (i) => `${i}.io`, '', `\n\n${IMAGE}`, '\n'),
    numbered('paths of a host', (i) => `registry.example.com:5000/${i}`, '', `\n\n${IMAGE}`, '\n'),
    numbered('hosts with wildcards', (i) => `*${i}.*.com:5000`, '', `\n\n${IMAGE}`, '\n'),
    repeated('equal locations', 'registry.example.com:5000\n', '', `\n\n${IMAGE}`),
    upTo(LOCATION_LENGTH_MAX, repeated('wildcards', '*a', '', `.com\n\n${'a'.repeat(200)}b.com/a`)),
    upTo(LOCATION_LENGTH_MAX, repeated('escapes', '%80', 'a.io/', `\n\n${IMAGE}`)),
    upTo(LOCATION_LENGTH_MAX, repeated('labels', 'a.', '', `\n\n${'a.'.repeat(999)}a/b`)),
    repeated('a long image name', 'a/', 'a\n\na.io/'),
  ],
};

function feed(input: Buffer): Verdict {
  const text = input.toString();
  const end = text.indexOf('\n\n');
  const locations = (end === -1 ? text : text.slice(0, end)).split('\n');
  const image = end === -1 ? IMAGE : text.slice(end + 2);
  const keyring = new Keyring<string>();
  for (const location of locations) keyring.add(location, location);
  const found = keyring.lookup(image);
  const target = parseLocation(image);
  // What is slow and plain: each location by itself.
  if (locations.length <= 64) {
    for (const location of locations) {
      const key = locationKey(location);
      const parsed = key === undefined ? undefined : parseLocation(key);
      const isMatch =
        parsed !== undefined && target !== undefined && locationMatches(parsed, target);
      const isDefault = key === 'index.docker.io' && target?.host === 'docker.io';
      if (isMatch) mustHold(found.includes(location), 'a location that counts is not found');
      else if (!isDefault)
        mustHold(!found.includes(location), 'a location counts that does not match');
    }
  }
  return found.length > 0 ? 'accepted' : 'refused';
}

function locationOf(random: Random): string {
  if (happens(random, 0.15)) return oddText(random);
  const host = pick(random, [
    'registry.example.com',
    '*.example.com',
    'r*y.*.com',
    'index.docker.io',
    '[::1]',
    'a%41',
    'u:p@r.io',
  ]);
  const port = pick(random, ['', ':5000', ':', ':x', ':99999']);
  const path = pick(random, ['', '/', '/v1/', '/team', '/team/', '/te%61m', '/te%zz', '?q', '#f']);
  return pick(random, ['', '', 'https://', 'http://', 'ftp://']) + host + port + path;
}
