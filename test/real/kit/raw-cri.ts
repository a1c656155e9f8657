/**
 * Bare calls of CRI v1, encoded by hand: what the kit itself needs, and an opinion that does not depend
 * on the client under test.
 */
import { Client, credentials } from '@grpc/grpc-js';
import type { RegistryAuth } from '../../../src/credentials/pull-credential.ts';

const CALL_TIMEOUT_MS = 20_000;
const RECONNECT_MS = 20;
/** Wire type of strings, bytes and messages. */
const LENGTH_DELIMITED = 2;
/** Bytes that follow the tag, by the other wire types in use. */
const FIXED_BYTES: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

/** An image as the runtime lists it. */
export interface RawImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** A connection to a CRI socket. Calls reject with the `ServiceError` of grpc-js. */
export class RawCri implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': RECONNECT_MS,
      'grpc.min_reconnect_backoff_ms': RECONNECT_MS,
      'grpc.max_reconnect_backoff_ms': RECONNECT_MS,
    });
  }

  /** The runtime's version. */
  async version(): Promise<string> {
    const answer = await this.#call('RuntimeService/Version', Buffer.alloc(0));
    return textsOf(answer, 3)[0] ?? '';
  }

  async listImages(): Promise<RawImage[]> {
    const answer = await this.#call('ImageService/ListImages', Buffer.alloc(0));
    return fieldsOf(answer, 1).map(imageOf);
  }

  /** `undefined`: there is none. */
  async imageStatus(image: string): Promise<RawImage | undefined> {
    const answer = await this.#call('ImageService/ImageStatus', field(1, field(1, image)));
    const found = fieldsOf(answer, 1)[0];
    return found === undefined ? undefined : imageOf(found);
  }

  /** Answers the id. */
  async pullImage(image: string, auth: RegistryAuth = {}): Promise<string> {
    const fields = [
      auth.username,
      auth.password,
      auth.auth,
      auth.serverAddress,
      auth.identityToken,
      auth.registryToken,
    ].map((value, index) => (value === undefined ? Buffer.alloc(0) : field(index + 1, value)));
    const request = Buffer.concat([field(1, field(1, image)), field(2, Buffer.concat(fields))]);
    return textsOf(await this.#call('ImageService/PullImage', request), 1)[0] ?? '';
  }

  async removeImage(image: string): Promise<void> {
    await this.#call('ImageService/RemoveImage', field(1, field(1, image)));
  }

  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #call(method: string, request: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        `/runtime.v1.${method}`,
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        request,
        { deadline: Date.now() + CALL_TIMEOUT_MS },
        (error, answer) => {
          if (error === null) resolve(answer ?? Buffer.alloc(0));
          else reject(error);
        },
      );
    });
  }
}

function imageOf(message: Buffer): RawImage {
  return {
    id: textsOf(message, 1)[0] ?? '',
    repoTags: textsOf(message, 2),
    repoDigests: textsOf(message, 3),
  };
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A text or a message as a field. */
function field(number: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([varint((number << 3) | LENGTH_DELIMITED), varint(bytes.length), bytes]);
}

function textsOf(message: Buffer, number: number): string[] {
  return fieldsOf(message, number).map((value) => value.toString());
}

/** The values of a field of text or message. */
function fieldsOf(message: Buffer, number: number): Buffer[] {
  const values: Buffer[] = [];
  let offset = 0;
  const readVarint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message.readUInt8(offset++);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (offset < message.length) {
    const tag = readVarint();
    const wireType = tag % 8;
    if (wireType === 0) {
      readVarint();
      continue;
    }
    const length = wireType === LENGTH_DELIMITED ? readVarint() : (FIXED_BYTES[wireType] ?? 0);
    if (wireType === LENGTH_DELIMITED && tag >> 3 === number) {
      values.push(message.subarray(offset, offset + length));
    }
    offset += length;
  }
  return values;
}
