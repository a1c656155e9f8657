/**
 * The values that one atomic register may have had, seen from outside: writes are known by when
 * they were called and when they were answered, and take effect at some moment in between.
 *
 * Time is a count of events: every begin and end of a write has a number of its own, and a read has
 * the number of the last event before it began. The rule is that of an atomic register (Lamport
 * 1986): a write may be what a read sees, unless another write is surely later than it and surely
 * earlier than the read.
 */

/** A write to one or more registers. */
export interface Write {
  /** Event at which it was called. */
  readonly start: number;
  /** Event at which it was answered; `Infinity` while it is under way. */
  end: number;
  /** 0 stands for "absent" and for "no". */
  readonly value: number;
  /** Whether it is unknown if it took effect at all: it may be seen, but hides nothing. */
  isMaybe: boolean;
}

/** Bits of `Register.possible`. */
export const SEEN = { VALUE: 1, OTHER: 2, ABSENT: 4 } as const;

/** One value that is written and read atomically; 0 at first. */
export class Register {
  /** The only possible value where `writes` is undefined. */
  value = 0;
  writes: Write[] | undefined;

  get isSettled(): boolean {
    return this.writes === undefined;
  }

  add(write: Write): void {
    this.writes ??= [{ start: 0, end: 0, value: this.value, isMaybe: false }];
    this.writes.push(write);
  }

  /** Takes back a write that turned out not to have happened. */
  remove(write: Write): void {
    const at = this.writes?.indexOf(write) ?? -1;
    if (at !== -1) this.writes!.splice(at, 1);
  }

  /**
   * What a read that began after event `since` and ends now may see: `VALUE` for the value asked
   * about, `ABSENT` for 0, `OTHER` for anything else. Asking about 0 gives `ABSENT` or `OTHER`.
   */
  possible(value: number, since: number): number {
    if (this.writes === undefined) return classify(this.value, value);
    const hidden = lastSureStart(this.writes, since);
    let seen = 0;
    for (const write of this.writes) {
      if (write.end >= hidden) seen |= classify(write.value, value);
    }
    return seen;
  }

  /**
   * Forgets what no read can see that began after event `since`.
   *
   * @returns Whether only one value is left.
   */
  settle(since: number): boolean {
    if (this.writes === undefined) return true;
    const hidden = lastSureStart(this.writes, since);
    const kept = this.writes.filter((write) => write.end >= hidden);
    this.writes = kept;
    const { value } = kept[0]!;
    for (const write of kept) {
      // A write under way may still take effect after others.
      if (write.value !== value || write.end === Number.POSITIVE_INFINITY) return false;
    }
    this.value = value;
    this.writes = undefined;
    return true;
  }
}

/**
 * The latest start of a write that a read from event `since` on must see, or something later: what
 * ended before that start is hidden from it.
 */
function lastSureStart(writes: readonly Write[], since: number): number {
  let last = Number.NEGATIVE_INFINITY;
  for (const { start, end, isMaybe } of writes) {
    if (!isMaybe && end <= since && start > last) last = start;
  }
  return last;
}

function classify(found: number, value: number): number {
  if (found === 0) return SEEN.ABSENT;
  return found === value ? SEEN.VALUE : SEEN.OTHER;
}
