/** Compares with the kubelet's own codec: see test/fixtures/kubelet-codec/README.md. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  decodeIntent,
  decodePulled,
  encodeIntent,
  encodePulled,
  RecordFormatError,
} from '../../../src/accessors/kubelet/record-format.ts';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { PullManagerError } from '../../../src/errors.ts';

type Level = 'v1.33' | 'v1.34' | 'v1.35';

interface Case {
  readonly name: string;
  /** Base64. */
  readonly file: string;
  /** The file as the kubelet writes it again; null where it cannot decode it. */
  readonly written: Readonly<Record<Level, string | null>>;
}

const EXPECTED = new URL('../../fixtures/kubelet-codec/expected.jsonl', import.meta.url);
const cases = readFileSync(EXPECTED, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Case);
/** A time that the kubelet writes, but that nothing can read. */
const UNREADABLE_TIME = /"lastUpdatedTime":"(-|\d{5})/;

/** The file written again, `null` where it is neither an intent nor a pulled record. */
function rewritten(file: Buffer, level: Level): string | null {
  const behaviour = KUBELET_BEHAVIOUR[level];
  try {
    return encodeIntent(decodeIntent(file, behaviour).image, behaviour).toString();
  } catch (error) {
    expect(error).toBeInstanceOf(RecordFormatError);
  }
  try {
    return encodePulled(decodePulled(file, behaviour).record, behaviour).toString();
  } catch (error) {
    if (error instanceof PullManagerError) return error.message;
    expect(error).toBeInstanceOf(RecordFormatError);
    return null;
  }
}

/** What is expected of pullwarden where the kubelet's codec wrote `text`. */
function expected(text: string | null, level: Level): string | null {
  if (text === null) return null;
  if (UNREADABLE_TIME.test(text)) {
    return 'lastUpdatedTime must be in the years 0 to 9999 to be written';
  }
  // The codec alone keeps the version; the kubelet converts to the one it writes.
  const { writesVersion } = KUBELET_BEHAVIOUR[level];
  return (
    text
      .replace(/(?<=^{"kind":"\w+","apiVersion":"kubelet\.config\.k8s\.io\/)\w+/, writesVersion)
      // No kubelet writes an empty list of its own accord; its codec hands one through.
      .replaceAll('"kubernetesSecrets":[]', '"kubernetesSecrets":null')
  );
}

describe('record files compared with the codec of the kubelet', () => {
  it.each<Level>(['v1.33', 'v1.34', 'v1.35'])(
    'are taken, refused and written as by %s',
    (level) => {
      const ours = cases.map(({ name, file }) => {
        return { name, written: rewritten(Buffer.from(file, 'base64'), level) };
      });
      const theirs = cases.map(({ name, written }) => {
        return { name, written: expected(written[level], level) };
      });
      expect(ours.filter((our, i) => our.written !== theirs[i]!.written)).toEqual(
        theirs.filter((their, i) => their.written !== ours[i]!.written),
      );
      // So that a change of the fixture cannot empty the comparison.
      expect(theirs.filter(({ written }) => written !== null).length).toBeGreaterThan(400);
      expect(theirs.filter(({ written }) => written === null).length).toBeGreaterThan(400);
    },
  );
});
