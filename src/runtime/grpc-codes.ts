/** The status codes of gRPC. */

/** The status codes of gRPC, by number. */
export const GRPC_CODE_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

/** Name of a gRPC status code. */
export type GrpcCodeName = (typeof GRPC_CODE_NAMES)[number];

/** The numbers of gRPC status codes. */
export function grpcCodes(...names: readonly GrpcCodeName[]): ReadonlySet<unknown> {
  return new Set(names.map((name) => GRPC_CODE_NAMES.indexOf(name)));
}
