/** Whether anything that all objects share was changed. */

const SHARED: readonly (readonly [name: string, shared: object])[] = [
  ['Object', Object],
  ['Object.prototype', Object.prototype],
  ['Array.prototype', Array.prototype],
  ['Function.prototype', Function.prototype],
  ['String.prototype', String.prototype],
  ['Number.prototype', Number.prototype],
  ['Boolean.prototype', Boolean.prototype],
  ['Map.prototype', Map.prototype],
  ['Set.prototype', Set.prototype],
  ['Date.prototype', Date.prototype],
  ['RegExp.prototype', RegExp.prototype],
  ['Error.prototype', Error.prototype],
  ['Promise.prototype', Promise.prototype],
  ['Uint8Array.prototype', Uint8Array.prototype],
  ['Buffer.prototype', Buffer.prototype],
  ['JSON', JSON],
  ['Math', Math],
];

/** What a look at all of them saw. */
export type PrototypeSnapshot = ReadonlyMap<string, unknown>;

export function prototypeSnapshot(): PrototypeSnapshot {
  const seen = new Map<string, unknown>();
  // Node makes some of their values when they are first asked for: their names must do.
  for (const key of Reflect.ownKeys(globalThis)) seen.set(`globalThis[${String(key)}]`, undefined);
  for (const [name, shared] of SHARED) {
    seen.set(`the prototype of ${name}`, Object.getPrototypeOf(shared));
    for (const key of Reflect.ownKeys(shared)) {
      const property = Object.getOwnPropertyDescriptor(shared, key)!;
      seen.set(`${name}[${String(key)}]`, property.value ?? 'accessor');
    }
  }
  return seen;
}

/** What differs from an earlier look, in words; undefined where nothing does. */
export function pollution(before: PrototypeSnapshot): string | undefined {
  const now = prototypeSnapshot();
  for (const [place, value] of now) {
    if (!before.has(place)) return `${place} was added`;
    if (!Object.is(before.get(place), value)) return `${place} was changed`;
  }
  for (const place of before.keys()) if (!now.has(place)) return `${place} was removed`;
  return undefined;
}

/** Takes away what was added, so that one input is not blamed for another's doing. */
export function clean(before: PrototypeSnapshot): void {
  for (const [name, shared] of [...SHARED, ['globalThis', globalThis] as const]) {
    for (const key of Reflect.ownKeys(shared)) {
      if (!before.has(`${name}[${String(key)}]`)) Reflect.deleteProperty(shared, key);
    }
  }
}
