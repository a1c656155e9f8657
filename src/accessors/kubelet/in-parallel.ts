/** Four threads do the file operations of Node; more tasks than that keep them busy. */
const TASKS_MAX = 16;

/** Runs `task` on each item, a few at a time, to the end of all; then rejects with the first failure. */
export async function inParallel<T>(
  items: readonly T[],
  task: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const failures: unknown[] = [];
  const runner = async (): Promise<void> => {
    while (next < items.length) {
      try {
        await task(items[next++]!);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(TASKS_MAX, items.length) }, runner));
  if (failures.length > 0) throw failures[0];
}
