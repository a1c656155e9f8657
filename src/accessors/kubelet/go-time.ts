/**
 * Times as the kubelet writes and reads them.
 *
 * Source: apimachinery meta/v1 Time (MarshalJSON, UnmarshalJSON) and Go's `time.Parse` of RFC 3339,
 * which is laxer than the RFC: hours may have one digit, a comma may stand before the fraction,
 * and offsets go up to 24 hours and 60 minutes.
 */
import { ZERO_TIME_MS } from '../../records/record.ts';

const YEAR_0_MS = -62_167_219_200_000;
const YEAR_10000_MS = 253_402_300_800_000;
const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

const GO_RFC_3339 =
  /^(\d{4})-(\d\d)-(\d\d)T(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))$/;

/**
 * A time as a JSON value: whole seconds in UTC, rounded down also before 1970; `null` for the zero
 * time. Undefined outside the years 0 to 9999, which RFC 3339 cannot express; Go writes something
 * there that it cannot read again.
 */
export function goTime(timeMs: number): string | undefined {
  if (timeMs === ZERO_TIME_MS) return 'null';
  if (!isGoTime(timeMs)) return undefined;
  const seconds = Math.floor(timeMs / SECOND_MS);
  return `"${new Date(seconds * SECOND_MS).toISOString().slice(0, 19)}Z"`;
}

/** Whether `goTime` can say it. */
export function isGoTime(timeMs: number): boolean {
  return timeMs === ZERO_TIME_MS || (timeMs >= YEAR_0_MS && timeMs < YEAR_10000_MS);
}

/** Milliseconds since 1970 of a text that Go takes for RFC 3339, else undefined; rounds down. */
export function parseGoTime(text: string): number | undefined {
  const parts = GO_RFC_3339.exec(text);
  if (parts === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction, sign, offsetHour, offsetMinute] =
    parts;
  const dayMs = startOfDay(Number(year), Number(month), Number(day));
  if (dayMs === undefined) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const inDayMs =
    Number(hour) * HOUR_MS +
    Number(minute) * MINUTE_MS +
    Number(second) * SECOND_MS +
    Number((fraction ?? '').slice(0, 3).padEnd(3, '0'));
  if (sign === undefined) return dayMs + inDayMs;
  if (Number(offsetHour) > 24 || Number(offsetMinute) > 60) return undefined;
  const offsetMs = Number(offsetHour) * HOUR_MS + Number(offsetMinute) * MINUTE_MS;
  return dayMs + inDayMs - (sign === '-' ? -offsetMs : offsetMs);
}

/** Undefined for a day that is not in the calendar. */
function startOfDay(year: number, month: number, day: number): number | undefined {
  const date = new Date(0);
  // Not Date.UTC, which takes the years 0 to 99 for those of the 20th century.
  const startMs = date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? startMs : undefined;
}
