/** Failures of gRPC calls, as `ImageRuntimeError`. */
import type { RegistryAuth } from '../../credentials/pull-credential.ts';
import { quote } from '../../errors.ts';
import { GRPC_CODE_NAMES, grpcCodes } from '../grpc-codes.ts';
import { ImageRuntimeError } from '../image-runtime.ts';
import { withoutSecrets } from '../without-secrets.ts';
import { answeredFailureKind, localFailureKind } from './failure-kind.ts';

/** What a call was about, for its errors. */
export interface CallSubject {
  /** What was being done, for example `pulling`. */
  readonly doing: string;
  readonly socketPath: string;
  readonly image?: string;
  /** Never shown: it tells what has to be taken out of the runtime's text. */
  readonly auth?: RegistryAuth | undefined;
}

/** What is used of a status of grpc-js. */
export interface GrpcFailure {
  readonly code: number;
  readonly details: string;
  readonly metadata: { get(key: string): readonly unknown[] };
}

/** Codes that grpc-js never makes up itself. */
const ONLY_OF_SERVERS: ReadonlySet<unknown> = grpcCodes(
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'DATA_LOSS',
);
/** Codes that grpc-js makes up as well, but with which a server does say that a call failed. */
const ALSO_OF_SERVERS: ReadonlySet<unknown> = grpcCodes(
  'UNKNOWN',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
);
/** The runtime has given up waiting, which is not to say that what it waited for has ended. */
const GIVEN_UP = /context (?:canceled|deadline exceeded)/;
const GRPC_CONTENT_TYPE = 'application/grpc';
/** grpc-js ends its own texts so where it has nothing to add. */
const EMPTY_NOTE = / Resolution note: $/;
/** Of an answer without a gRPC status, which grpc-js makes up from the HTTP status. */
const MADE_UP_FROM_HTTP = /^Received HTTP status code \d+$/;

/**
 * Whether a status was sent by the server, as far as it can be known.
 *
 * grpc-js does not tell, but a status of its own has no metadata, while a server that fails a call
 * without having sent anything before sends status and headers in one block, whose headers become
 * metadata. Where headers came first the two look alike: then it is not known, so `false`.
 */
function isFromServer({ code, details, metadata }: GrpcFailure): boolean {
  if (ONLY_OF_SERVERS.has(code)) return true;
  if (MADE_UP_FROM_HTTP.test(details)) return false;
  return metadata.get('content-type').some((type) => String(type).startsWith(GRPC_CONTENT_TYPE));
}

/**
 * Whether the failure is the runtime's word that the call is over.
 *
 * The other codes are not, even from the server: CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE leave
 * open what goes on; INTERNAL and RESOURCE_EXHAUSTED are also what gRPC libraries of servers answer
 * when the work is done and its result cannot be sent; UNIMPLEMENTED is also what grpc-js makes of a
 * success without a message. Nor is a text that tells of a context that has ended.
 */
function isAnswer(failure: GrpcFailure): boolean {
  if (ONLY_OF_SERVERS.has(failure.code)) return true;
  const isTold = ALSO_OF_SERVERS.has(failure.code) && isFromServer(failure);
  return isTold && !GIVEN_UP.test(failure.details);
}

/** The error for a status of gRPC that is not OK; `isLate`: the time for the call is up. */
export function failedCall(
  failure: GrpcFailure,
  subject: CallSubject,
  isLate: boolean,
): ImageRuntimeError {
  const { code, details } = failure;
  const kind = isFromServer(failure)
    ? answeredFailureKind(code, details)
    : localFailureKind(code, details, isLate);
  const text = withoutSecrets(details.replace(EMPTY_NOTE, ''), subject.auth);
  const name = GRPC_CODE_NAMES[code] ?? `gRPC code ${code}`;
  // Not as the cause: status and metadata hold the text as it came.
  return new ImageRuntimeError(kind, `${described(subject)}: ${name}: ${text}`, {
    ...fields(subject),
    reason: text,
    answered: isAnswer(failure),
  });
}

/** The error for an answer that is not as the protocol has it; the call may have taken effect. */
export function oddAnswer(problem: string, subject: CallSubject): ImageRuntimeError {
  return new ImageRuntimeError('protocol', `${described(subject)}: ${problem}`, {
    ...fields(subject),
    answered: false,
  });
}

/** The error for a call given up by its caller, whose reason becomes the cause. */
export function abortedCall(subject: CallSubject, cause: unknown): ImageRuntimeError {
  return new ImageRuntimeError('aborted', `${described(subject)} was aborted`, {
    ...fields(subject),
    answered: false,
    cause,
  });
}

function described({ doing, image, socketPath }: CallSubject): string {
  const at = `at the runtime ${quote(socketPath)}`;
  return image === undefined ? `${doing} ${at}` : `${doing} ${quote(image)} ${at}`;
}

function fields({ image, socketPath }: CallSubject): { image?: string | undefined; path: string } {
  return { image, path: socketPath };
}
