/** There on Node 20, but typed only by a later library version. */
type WellFormed = string & { isWellFormed(): boolean; toWellFormed(): string };

/** The text as UTF-8 can carry it: lone surrogates become U+FFFD. */
export function wellFormed(text: string): string {
  return (text as WellFormed).toWellFormed();
}

/** Whether UTF-8 can carry the text: it has no lone surrogates. */
export function isWellFormed(text: string): boolean {
  return (text as WellFormed).isWellFormed();
}
