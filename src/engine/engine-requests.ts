/** What a host thread asks of an owner, as it waits for the answer: a write, or a question. */
import { REQUEST } from '../protocol/frames.ts';
import type { Pending, StateReply } from '../protocol/host-link.ts';
import type { ImagePullCredentials } from '../records/record.ts';

/** A write that resolves when it is durable. */
export class Write implements Pending {
  reply: StateReply | Error | undefined = undefined;
  readonly op: number;
  readonly image: string | undefined;
  readonly imageRef: string | undefined;
  readonly imageName: string | undefined;
  readonly credentials: ImagePullCredentials | null | undefined;
  readonly wantsState: boolean;
  readonly succeed: () => void;
  readonly fail: (error: Error) => void;

  constructor(
    op: number,
    image: string | undefined,
    imageRef: string | undefined,
    imageName: string | undefined,
    credentials: ImagePullCredentials | null | undefined,
    wantsState: boolean,
    succeed: () => void,
    fail: (error: Error) => void,
  ) {
    this.op = op;
    this.image = image;
    this.imageRef = imageRef;
    this.imageName = imageName;
    this.credentials = credentials;
    this.wantsState = wantsState;
    this.succeed = succeed;
    this.fail = fail;
  }
}

/** A question about a record and an intent, shared by all who ask it before it is answered. */
export class Read implements Pending {
  readonly op: number = REQUEST.READ;
  readonly imageName = undefined;
  readonly credentials = undefined;
  readonly wantsState = false;
  reply: StateReply | Error | undefined = undefined;
  readonly image: string | undefined;
  readonly imageRef: string | undefined;
  /** The time between two publications in which it was asked. */
  readonly interval: number;
  readonly answer: Promise<StateReply>;
  succeed!: (state?: StateReply) => void;
  fail!: (error: Error) => void;

  constructor(
    imageRef: string | undefined,
    image: string | undefined,
    interval: number,
    onEnd: ((read: Read) => void) | undefined,
  ) {
    this.interval = interval;
    this.image = image;
    this.imageRef = imageRef;
    this.answer = new Promise((resolve, reject) => {
      this.succeed = (state) => {
        onEnd?.(this);
        resolve(state!);
      };
      this.fail = (error) => {
        onEnd?.(this);
        reject(error);
      };
    });
  }
}
