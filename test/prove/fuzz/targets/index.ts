/** All targets. */
import type { FuzzTarget } from '../target.ts';
import { agentBodies } from './agent-bodies.ts';
import { agentSocket } from './agent-socket.ts';
import { allowList } from './allow-list.ts';
import { commandLine } from './command-line.ts';
import { dockerConfig } from './docker-config.ts';
import { imageNames } from './image-names.ts';
import { journal } from './journal.ts';
import { kubeletRecords } from './kubelet-records.ts';
import { msgpackRecords } from './msgpack-records.ts';
import { protocolFrames } from './protocol-frames.ts';
import { providerAnswers } from './provider-answers.ts';
import { recordsImport } from './records-import.ts';
import { registryLocations } from './registry-locations.ts';
import { runtimeTexts } from './runtime-texts.ts';

export const targets: readonly FuzzTarget[] = [
  imageNames,
  allowList,
  kubeletRecords,
  msgpackRecords,
  journal,
  protocolFrames,
  recordsImport,
  dockerConfig,
  providerAnswers,
  registryLocations,
  runtimeTexts,
  commandLine,
  agentBodies,
  agentSocket,
];
