/**
 * What host threads and owners say to each other through their rings.
 *
 * Texts and credentials are sent once per link and then referred to by number (`id`), until another
 * is sent under the same number. A message whose bytes do not fit one frame is preceded by PART
 * frames.
 *
 * Requests, host to owner. "Counted" requests are answered in order: by `LINK.COMPLETED` alone where
 * they succeed without a value, else by a reply frame with their number first. Only the STATE of a
 * READ may overtake writes before it, which wait for their flush.
 *
 * | opcode      | words after the header                          | counted | reply                  |
 * | ----------- | ----------------------------------------------- | ------- | ---------------------- |
 * | PART        | byteLength, bytes                               |         |                        |
 * | TEXT        | id, byteLength, UTF-8                           |         |                        |
 * | CREDENTIALS | id, byteLength, msgpack                         |         |                        |
 * | SECRET      | id, uid, namespace, name, byteLength, UTF-8     |         |                        |
 * | INTENT      | image                                           | yes     | FAILURE                |
 * | OUTCOME     | image                                           | yes     | FAILURE                |
 * | PULLED      | imageRef, name, credentials or -1, image or -1, | yes     | MERGED, STATE or none, |
 * |             | 1: what is the record now?                      |         | FAILURE                |
 * | READ        | imageRef or -1, image or -1                     | yes     | STATE, FAILURE         |
 * | CALL        | call, byteLength, msgpack [method, ...args]     |         | RESULT …, FAILED_CALL  |
 *
 * SECRET stands for CREDENTIALS, under the same numbers, where they are one secret, as most are: its
 * coordinates are texts, its bytes the hash. It never has parts.
 *
 * PULLED with an image also ends the pull of that image, when one worker owns both keys.
 *
 * Replies, owner to host.
 *
 * | opcode      | words after the header                                                          |
 * | ----------- | ------------------------------------------------------------------------------- |
 * | PART        | byteLength, bytes                                                               |
 * | FAILURE     | request, byteLength, msgpack WireError                                          |
 * | STATE       | request, flags, record version, intent version, byteLength, msgpack record      |
 * | MERGED      | request, record version before, time in ms: upper word, lower word, 0           |
 * | RESULT      | call, more, byteLength, msgpack value                                           |
 * | FAILED_CALL | call, byteLength, msgpack WireError                                             |
 */

/** Opcodes of requests. */
export const REQUEST = {
  PART: 2,
  TEXT: 3,
  CREDENTIALS: 4,
  INTENT: 5,
  OUTCOME: 6,
  PULLED: 7,
  READ: 8,
  CALL: 9,
  SECRET: 10,
} as const;

/** Opcodes of answers. */
export const REPLY = {
  /** The same as that of a request. */
  PART: 2,
  FAILURE: 3,
  STATE: 4,
  RESULT: 5,
  FAILED_CALL: 6,
  MERGED: 7,
} as const;

/** Flags of a STATE reply. */
export const STATE = {
  /** There is a record, and its bytes follow. */
  HAS_RECORD: 1,
  /** There is an intent, or a pull is under way. Set only where the image was asked about. */
  HAS_INTENT: 2,
  /** The record part is the newest as of its version, and may be kept. */
  KEEP_RECORD: 4,
  /** The intent part is the newest as of its version, and may be kept. */
  KEEP_INTENT: 8,
} as const;

/** Methods of a CALL. */
export type CallMethod = 'listIntents' | 'listPulled' | 'prune';

/** Longest text accepted as an image, image reference or credential field, in UTF-16 units. */
export const TEXT_LENGTH_MAX: number = 1 << 20;
