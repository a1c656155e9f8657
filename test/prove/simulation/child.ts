/**
 * The process in which engines are simulated: it is started with its clock preloaded, and may die or
 * hang of what is wrong with the engine. Prints the result as one line of JSON.
 */
import { type SimulationOptions, simulate } from './simulate.ts';

const options = JSON.parse(process.argv[2]!) as SimulationOptions;
const result = await simulate(options);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
