/**
 * What the failure of a CRI call means: by gRPC code first, by text second.
 *
 * Runtimes answer nearly everything that goes wrong between them and a registry with `UNKNOWN`, and
 * their texts differ between versions. The rules were derived from answers of containerd 1.6, 1.7
 * and 2.1 (`test/fixtures/cri`) and from what CRI-O says of signatures.
 */
import { GRPC_CODE_NAMES, type GrpcCodeName } from '../grpc-codes.ts';
import type { ImageRuntimeErrorKind } from '../image-runtime.ts';

type Rule = readonly [kind: ImageRuntimeErrorKind, pattern: RegExp];

/** Reasons that runtimes put before the text, for the kubelet: they count whatever the code is. */
const REASONS: readonly Rule[] = [
  ['registryUnavailable', /^(?:rpc error: .*?desc = )?RegistryUnavailable\b/],
  ['signature', /^(?:rpc error: .*?desc = )?SignatureValidationFailed\b/],
];

const KIND_OF_CODE: Readonly<Partial<Record<GrpcCodeName, ImageRuntimeErrorKind>>> = {
  CANCELLED: 'unavailable',
  DEADLINE_EXCEEDED: 'timeout',
  PERMISSION_DENIED: 'denied',
  UNAUTHENTICATED: 'denied',
  UNAVAILABLE: 'unavailable',
  UNIMPLEMENTED: 'protocol',
};

/** Where the text decides nothing. */
const KIND_OF_CODE_AT_LAST: Readonly<Partial<Record<GrpcCodeName, ImageRuntimeErrorKind>>> = {
  DATA_LOSS: 'corrupt',
  NOT_FOUND: 'notFound',
};

/** In order: the first that matches counts. */
const RULES: readonly Rule[] = [
  ['invalidName', /invalid reference format|failed to parse (?:image )?reference/i],
  ['signature', /source image rejected|signature (?:was required|verification failed)/i],
  // A registry that answers with a page of its proxy, whatever the runtime makes of it.
  ['registryUnavailable', /unexpected media type text\/html|\(text\/html\) from remote/i],
  // It arrived, and is no layer: an "unexpected EOF" in it is none of the network.
  ['other', /failed to extract layer/i],
  // Before refusals: a token server that fails is told as "failed to authorize".
  ['registryUnavailable', /: (?:429|5\d\d)(?: [A-Z]|$)|toomanyrequests|too many requests/i],
  [
    'registryUnavailable',
    /\bdial (?:tcp|unix)|\bconnection (?:refused|reset|timed out)|no such host|no route to host|network is unreachable|broken pipe|i\/o timeout|timeout awaiting|TLS handshake|\bx509:|\btls:|HTTP response to HTTPS client|unexpected EOF|: EOF$|stopped after \d+ redirects/i,
  ],
  [
    'denied',
    /: 40[13](?: [A-Z]|$)|access denied|(?<!permission )\bdenied:|unauthorized|authentication required|authorization failed|insufficient_scope|failed to authorize|auth credentials/i,
  ],
  // The credential itself is not one.
  ['denied', /illegal base64 data|parse server address|invalid registry auth/i],
  ['notFound', /manifest unknown|name unknown|repository name not known|: 404(?: [A-Z]|$)/i],
  ['corrupt', /unexpected commit (?:digest|size)|digest (?:mismatch|did not match)|failed commit/i],
];

/** Names and addresses are the user's words: `registry/unauthorized` says nothing of the failure. */
const NAMES_AND_ADDRESSES = /"[^"]*"|\bhttps?:\/\/[^\s"]*[^\s":]/g;

/** The kind of a failure that the runtime itself has told. */
export function answeredFailureKind(code: number, text: string): ImageRuntimeErrorKind {
  const reason = REASONS.find(([, pattern]) => pattern.test(text));
  if (reason !== undefined) return reason[0];
  const name = GRPC_CODE_NAMES[code];
  if (name === undefined || name === 'OK') return 'protocol';
  const kind = KIND_OF_CODE[name];
  if (kind !== undefined) return kind;
  const said = text.replace(NAMES_AND_ADDRESSES, '');
  const rule = RULES.find(([, pattern]) => pattern.test(said));
  return rule?.[0] ?? KIND_OF_CODE_AT_LAST[name] ?? 'other';
}

/** What Node says of a peer that does not speak HTTP/2. */
const NOT_HTTP2 = /protocol error|ERR_HTTP2_|\bParse Error\b/i;

/**
 * The kind of a failure that was found out on this side of the connection; `isLate`: when the time for
 * the call was up. The runtime knows that time too, and may be the first to end the call.
 */
export function localFailureKind(
  code: number,
  text: string,
  isLate: boolean,
): ImageRuntimeErrorKind {
  switch (GRPC_CODE_NAMES[code]) {
    case 'CANCELLED':
      return isLate ? 'timeout' : 'unavailable';
    case 'DEADLINE_EXCEEDED':
      return 'timeout';
    case 'UNAVAILABLE':
      return NOT_HTTP2.test(text) ? 'protocol' : 'unavailable';
    default:
      return 'protocol';
  }
}
