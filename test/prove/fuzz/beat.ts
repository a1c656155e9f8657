/**
 * What a fuzzing thread is doing, in memory that outlives it: the input that hangs or kills a thread
 * cannot be asked for afterwards.
 */

const HEADER_BYTES = 64;
/** Longer inputs are shown by their beginning. */
const INPUT_BYTES_MAX = 4 << 20;

// Words of the header.
/** Raised at the beginning of each input. */
const COUNT = 0;
/** 1 while an input is being fed. */
const IS_FEEDING = 1;
const LENGTH = 2;
/** What the kernel calls the thread; 0 where that is not known. */
const KERNEL_THREAD = 3;

/** Both sides of it. */
export class Beat {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(HEADER_BYTES + INPUT_BYTES_MAX)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(memory, HEADER_BYTES);
  }

  begin(input: Uint8Array): void {
    const shown = input.subarray(0, INPUT_BYTES_MAX);
    this.#bytes.set(shown);
    Atomics.store(this.#words, LENGTH, shown.length);
    Atomics.add(this.#words, COUNT, 1);
    Atomics.store(this.#words, IS_FEEDING, 1);
  }

  set kernelThread(id: number) {
    Atomics.store(this.#words, KERNEL_THREAD, id);
  }

  get kernelThread(): number {
    return Atomics.load(this.#words, KERNEL_THREAD);
  }

  end(): void {
    Atomics.store(this.#words, IS_FEEDING, 0);
  }

  /** The number of the input that is being fed; undefined between inputs. */
  get current(): number | undefined {
    if (Atomics.load(this.#words, IS_FEEDING) === 0) return undefined;
    return Atomics.load(this.#words, COUNT);
  }

  /** The input that was fed last. */
  get input(): Buffer {
    return Buffer.from(this.#bytes.slice(0, Atomics.load(this.#words, LENGTH)));
  }
}
