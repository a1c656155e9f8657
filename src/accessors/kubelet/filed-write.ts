/** What of a write the kubelet's files can say. */
import type { KubeletBehaviour } from '../../compatibility.ts';
import { invalidArgument } from '../../errors.ts';
import { PulledRecord } from '../../records/record.ts';
import { wellFormed } from '../../util/well-formed.ts';
import type { RecordWrite } from '../accessor.ts';
import { ownRecord } from '../journal/batch.ts';
import type { Value } from './found-file.ts';
import { isGoTime } from './go-time.ts';
import { filedRecord } from './join.ts';
import type { RecordKind } from './layout.ts';
import { encodePulled, RECORD_BYTES_MAX } from './record-format.ts';

/** Bytes of a secret beside its texts, and the most that one UTF-16 unit of these can take. */
const FRAME_BYTES = 100;
const UNIT_BYTES = 6;

/**
 * The write with texts and times as a file will give them back.
 *
 * @throws `INVALID_ARGUMENT` for what no file can say: another year than 0 to 9999, two names that are
 * one as UTF-8, more than a file may hold.
 */
export function filedWrite(write: RecordWrite, behaviour: KubeletBehaviour): RecordWrite {
  const filed = asFiled(write);
  if (filed.op === 'writePulled') checkRecord(filed.record as PulledRecord, behaviour);
  return filed;
}

function asFiled(write: RecordWrite): RecordWrite {
  switch (write.op) {
    case 'writeIntent':
    case 'deleteIntent':
      checkText(write.image, 'image');
      return { op: write.op, image: wellFormed(write.image) };
    case 'deletePulled':
      checkText(write.imageRef, 'imageRef');
      return { op: write.op, imageRef: wellFormed(write.imageRef) };
    case 'writePulled': {
      const record = filedRecord(ownRecord(write.record));
      const imageRef = wellFormed(record.imageRef);
      if (imageRef === record.imageRef) return { op: write.op, record, change: write.change };
      const { updatedAtMs, proofs } = record;
      return { op: write.op, record: new PulledRecord(imageRef, updatedAtMs, proofs) };
    }
    default:
      throw invalidArgument('op', 'is not a known write');
  }
}

function checkText(text: unknown, argument: string): void {
  if (typeof text !== 'string') throw invalidArgument(argument, 'must be a string');
}

/** The image of an intent, the imageRef of a record. */
export function keyOf(write: RecordWrite): string {
  if (write.op === 'writePulled') return write.record.imageRef;
  return write.op === 'deletePulled' ? write.imageRef : write.image;
}

/** The write after which a key has that value. */
export function writeOf(of: {
  kind: RecordKind;
  key: string;
  value: Value | undefined;
}): RecordWrite {
  const { kind, key, value } = of;
  if (kind === 'intent') return { op: value ? 'writeIntent' : 'deleteIntent', image: key };
  if (value === undefined) return { op: 'deletePulled', imageRef: key };
  return { op: 'writePulled', record: value as PulledRecord };
}

/** What the key has after the write. */
export function valueFrom(write: RecordWrite): Value | undefined {
  if (write.op === 'writePulled') return write.record as PulledRecord;
  return write.op === 'writeIntent' ? true : undefined;
}

/** A bound on the size of a record's file that costs little to work out. */
function bytesAtMost({ imageRef, proofs }: PulledRecord): number {
  let units = imageRef.length;
  let items = 2;
  for (const { imageName, credentials } of proofs) {
    units += imageName.length;
    items++;
    for (const secret of credentials.kubernetesSecrets ?? []) {
      const { uid, namespace, name, credentialHash } = secret;
      units += uid.length + namespace.length + name.length + credentialHash.length;
      items++;
    }
    for (const { uid, namespace, name } of credentials.kubernetesServiceAccounts ?? []) {
      units += uid.length + namespace.length + name.length;
      items++;
    }
  }
  return units * UNIT_BYTES + items * FRAME_BYTES;
}

function checkRecord(record: PulledRecord, behaviour: KubeletBehaviour): void {
  if (!isGoTime(record.updatedAtMs)) {
    throw invalidArgument('lastUpdatedTime', 'must be in the years 0 to 9999 for the kubelet');
  }
  const hasOddName = record.proofs.some(({ imageName }) => imageName !== wellFormed(imageName));
  // Encoding tells for sure, but costs more than most batches.
  if (hasOddName || bytesAtMost(record) > RECORD_BYTES_MAX) encodePulled(record, behaviour);
}
