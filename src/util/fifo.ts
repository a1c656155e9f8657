/** A queue, first in, first out, in an array that is used as a ring: no step depends on its length. */

const LENGTH_INITIAL = 256;

/** Used by one thread. */
export class Fifo<T> {
  count = 0;
  /** Its length is a power of two. */
  #ring: (T | undefined)[] = new Array(LENGTH_INITIAL);
  #from = 0;

  push(item: T): void {
    if (this.count === this.#ring.length) this.#grow();
    this.#ring[(this.#from + this.count++) & (this.#ring.length - 1)] = item;
  }

  /** The item at a place, counted from the oldest one, which is at 0. */
  at(place: number): T {
    return this.#ring[(this.#from + place) & (this.#ring.length - 1)]!;
  }

  /** Takes the oldest one out. */
  shift(): T {
    const item = this.#ring[this.#from]!;
    this.#ring[this.#from] = undefined;
    this.#from = (this.#from + 1) & (this.#ring.length - 1);
    this.count--;
    return item;
  }

  #grow(): void {
    const grown: (T | undefined)[] = new Array(this.#ring.length * 2);
    for (let i = 0; i < this.count; i++) grown[i] = this.at(i);
    this.#ring = grown;
    this.#from = 0;
  }
}
