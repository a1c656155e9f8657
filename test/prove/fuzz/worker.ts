/** A fuzzing thread: does one job and says what it found. */
import { parentPort, workerData } from 'node:worker_threads';
import { Beat } from './beat.ts';
import { kernelThreadId } from './clock.ts';
import type { JobData } from './job.ts';
import { runJob } from './run-job.ts';

if (parentPort === null) throw new Error('this module runs in a worker thread');
const data = workerData as JobData;
const beat = new Beat(data.beat);
beat.kernelThread = kernelThreadId();
const result = await runJob(data, beat);
parentPort.postMessage(result);
