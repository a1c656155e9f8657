/**
 * All the states that one key may be in, given which operations on it were started and answered.
 *
 * A world is a state and the set of running operations that have taken effect in it. An operation
 * takes effect at one moment between its start and its answer, so at each answer the worlds branch
 * over every order of the running operations, and those in which the answered one has not taken
 * effect end. A store that keeps its promises is always in one of the worlds; a check of what it
 * holds ends the others.
 */

/** What an operation does to a state: the states it may lead to, none where it cannot happen. */
export type Effect<S> = (state: S) => readonly S[];

/** An operation on a key. */
export interface KeyOperation<S> {
  readonly id: number;
  /** Effects that happen in this order, each at a moment of its own; usually one. */
  readonly effects: readonly Effect<S>[];
  /** Whether it may be answered without having done anything. */
  readonly isOptional: boolean;
}

/** More operations ran on a key at a time than can be followed. */
export class TooManyOperationsError extends Error {}

/** Bits for running operations, and so the most that may run on one key at a time. */
const SLOTS = 20;
const MASKS = 1 << SLOTS;
const WORLDS_MAX = 100_000;

/** Numbers for states, so that a world is a number. */
class StateTable<S> {
  readonly #textOf: (state: S) => string;
  readonly #ids = new Map<string, number>();
  readonly #states: S[] = [];

  constructor(textOf: (state: S) => string) {
    this.#textOf = textOf;
  }

  idOf(state: S): number {
    const text = this.#textOf(state);
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.#states.length;
      this.#ids.set(text, id);
      this.#states.push(state);
    }
    return id;
  }

  stateOf(id: number): S {
    return this.#states[id]!;
  }

  /** An empty table of the same kind. */
  renewed(): StateTable<S> {
    return new StateTable(this.#textOf);
  }
}

/** The worlds at the moment of a crash, before anything was looked at. */
export interface CrashWorlds<S> {
  /** Whether in every world whose state agrees the operation has taken effect. */
  mustHaveHappened(id: number, agrees: (state: S) => boolean): boolean;
  /** The states of worlds in which all these operations have taken effect. */
  statesWith(ids: readonly number[]): S[];
}

/** The worlds of one key. */
export class KeyWorlds<S> {
  #table: StateTable<S>;
  #worlds: Set<number>;
  readonly #slots: (Effect<S> | undefined)[] = new Array(SLOTS).fill(undefined);
  /** Slots of each running operation. */
  readonly #running = new Map<number, { slots: number[]; isOptional: boolean }>();
  /** By slot, the slot that must have happened before; -1: none. */
  readonly #after: number[] = new Array(SLOTS).fill(-1);
  /** States since the window was opened. */
  #window: Set<number> | undefined;

  constructor(initial: S, textOf: (state: S) => string) {
    this.#table = new StateTable(textOf);
    this.#worlds = new Set([this.#table.idOf(initial) * MASKS]);
  }

  /** The distinct states of all worlds. */
  get states(): S[] {
    return Array.from(idsOf(this.#worlds), (id) => this.#table.stateOf(id));
  }

  start(operation: KeyOperation<S>): void {
    const slots: number[] = [];
    for (const effect of operation.effects) {
      const slot = this.#slots.indexOf(undefined);
      if (slot < 0) {
        throw new TooManyOperationsError(`more than ${SLOTS} operations run on one key`);
      }
      this.#slots[slot] = effect;
      this.#after[slot] = slots.at(-1) ?? -1;
      slots.push(slot);
    }
    this.#running.set(operation.id, { slots, isOptional: operation.isOptional });
  }

  /**
   * The operation was answered: it has taken effect by now, or never will if it need not. False: it
   * cannot have taken effect in any world.
   */
  acknowledge(id: number): boolean {
    const operation = this.#running.get(id);
    if (operation === undefined) return true;
    this.#branch();
    const required = operation.isOptional ? 0 : maskOf(operation.slots);
    const canBe = Array.from(this.#worlds).some((world) => hasAll(world % MASKS, required));
    this.#end(id, canBe ? required : 0);
    return canBe;
  }

  /** The operation failed: it has taken effect by now or never will. */
  reject(id: number): void {
    if (!this.#running.has(id)) return;
    this.#branch();
    this.#end(id, 0);
  }

  /** From here to `crash`, a crash may have been at any moment. */
  openWindow(): void {
    this.#window = new Set();
    this.#branch();
  }

  /** Everything that runs ends here, done or not; `afterwards` is what a restart makes of a state. */
  crash(afterwards: (state: S) => S): CrashWorlds<S> {
    this.#branch();
    const before = this.#worlds;
    const table = this.#table;
    const possible = this.#window ?? idsOf(before);
    this.#window = undefined;
    const masks = new Map<number, number>();
    for (const [id, { slots }] of this.#running) masks.set(id, maskOf(slots));
    this.#worlds = new Set();
    for (const id of possible) {
      this.#worlds.add(table.idOf(afterwards(table.stateOf(id))) * MASKS);
    }
    this.#running.clear();
    this.#slots.fill(undefined);
    return {
      mustHaveHappened(id, agrees) {
        const mask = masks.get(id);
        if (mask === undefined) return false;
        for (const world of before) {
          if (!agrees(table.stateOf(Math.floor(world / MASKS)))) continue;
          if (((world % MASKS) & mask) !== mask) return false;
        }
        return true;
      },
      statesWith(ids) {
        const mask = ids.reduce((sum, id) => sum | (masks.get(id) ?? 0), 0);
        const states = new Set<number>();
        for (const world of before) {
          if (((world % MASKS) & mask) === mask) states.add(Math.floor(world / MASKS));
        }
        return Array.from(states, (id) => table.stateOf(id));
      },
    };
  }

  /** Ends the worlds that do not agree with what was seen; false: all of them, and none is left. */
  observe(agrees: (state: S) => boolean, seen: (state: S) => S): boolean {
    this.#branch();
    const worlds = new Set<number>();
    for (const world of this.#worlds) {
      const state = this.#table.stateOf(Math.floor(world / MASKS));
      if (agrees(state)) worlds.add(this.#table.idOf(seen(state)) * MASKS + (world % MASKS));
    }
    if (worlds.size === 0) return false;
    this.#worlds = worlds;
    return true;
  }

  /** Starts anew from one state, without history. */
  reset(state: S): void {
    this.#worlds = new Set([this.#table.idOf(state) * MASKS]);
    this.#running.clear();
    this.#slots.fill(undefined);
  }

  #branch(): void {
    if (this.#running.size > 0) this.#spread();
    if (this.#window !== undefined) for (const id of idsOf(this.#worlds)) this.#window.add(id);
  }

  #spread(): void {
    const open = Array.from(this.#worlds);
    for (let world = open.pop(); world !== undefined; world = open.pop()) {
      const id = Math.floor(world / MASKS);
      const mask = world % MASKS;
      for (let slot = 0; slot < SLOTS; slot++) {
        const effect = this.#slots[slot];
        if (effect === undefined || (mask >>> slot) & 1) continue;
        const after = this.#after[slot]!;
        if (after >= 0 && ((mask >>> after) & 1) === 0) continue;
        for (const state of effect(this.#table.stateOf(id))) {
          const next = this.#table.idOf(state) * MASKS + (mask | (1 << slot));
          if (this.#worlds.has(next)) continue;
          this.#worlds.add(next);
          open.push(next);
        }
      }
      if (this.#worlds.size > WORLDS_MAX) {
        throw new TooManyOperationsError('too many operations ran on one key');
      }
    }
  }

  #end(id: number, required: number): void {
    const { slots } = this.#running.get(id)!;
    const gone = maskOf(slots);
    const worlds = new Set<number>();
    for (const world of this.#worlds) {
      const mask = world % MASKS;
      if (!hasAll(mask, required)) continue;
      worlds.add(world - mask + (mask & ~gone));
    }
    this.#worlds = worlds;
    this.#running.delete(id);
    for (const slot of slots) this.#slots[slot] = undefined;
    this.#prune();
  }

  /** A key that rests in one state needs no table of the past. */
  #prune(): void {
    if (this.#running.size > 0 || this.#worlds.size !== 1 || this.#window !== undefined) return;
    const [state] = this.states;
    this.#table = this.#table.renewed();
    this.#worlds = new Set([this.#table.idOf(state!) * MASKS]);
  }
}

function maskOf(slots: readonly number[]): number {
  return slots.reduce((mask, slot) => mask | (1 << slot), 0);
}

function hasAll(mask: number, required: number): boolean {
  return (mask & required) === required;
}

/** Numbers of the states of worlds. */
function idsOf(worlds: ReadonlySet<number>): Set<number> {
  const ids = new Set<number>();
  for (const world of worlds) ids.add(Math.floor(world / MASKS));
  return ids;
}
