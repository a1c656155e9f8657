/** The JSON schema of scenario files, made from the tables that parse them. */
import { COMPATIBILITY_LEVELS } from '../compatibility.ts';
import { DEFAULT_PARAMETERS, SCENARIO_NAMES } from './built-in.ts';
import { type Field, type FieldTable, LIST_LENGTH_MAX, limitsOf } from './field.ts';
import { PARAMETER_NAMES, PARAMETERS, type ParameterName } from './parameters.ts';

/** A JSON schema, or a part of one. */
export type JsonSchema = Readonly<Record<string, unknown>>;

const DURATION = '^\\d+(\\.\\d+)?(ms|s|m)$';
const PERCENT = '^\\d+(\\.\\d+)? ?%$';
const RATE = '^\\d+(_?\\d)*(\\.\\d+)? ?[kM]?(/[smh])?$';

/** The schema, for editors: what it accepts is accepted, and what it describes is all there is. */
export function scenarioSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Scenario of pullwarden storm',
    type: 'object',
    additionalProperties: false,
    properties: {
      $schema: { type: 'string' },
      extends: { enum: SCENARIO_NAMES, description: 'the built-in scenario to begin with' },
      description: { type: 'string', description: 'what it shows, in one line' },
      ...Object.fromEntries(PARAMETER_NAMES.map((name) => [name, schemaOfParameter(name)])),
    },
  };
}

function schemaOfParameter(name: ParameterName): JsonSchema {
  const value = DEFAULT_PARAMETERS[name];
  const schema = schemaOf(PARAMETERS[name]);
  if (value === undefined) return schema;
  return {
    ...schema,
    default: PARAMETERS[name].kind === 'duration' ? `${Number(value)}ms` : value,
  };
}

function schemaOf(field: Field): JsonSchema {
  const { help: description } = field;
  const single = schemaOfValue(field);
  if (field.isRamp !== true) return { description, ...single };
  const ramp = objectOf({
    from: { ...field, isRamp: false, isRequired: true, help: 'at the beginning' },
    to: { ...field, isRamp: false, isRequired: true, help: 'at the end' },
  });
  return { description, anyOf: [single, ramp] };
}

function schemaOfValue(field: Field): JsonSchema {
  switch (field.kind) {
    case 'boolean':
      return { type: 'boolean' };
    case 'text':
      return { type: 'string', minLength: 1 };
    case 'texts':
      return { type: 'array', items: { type: 'string' } };
    case 'choice':
      return { enum: field.choices ?? [] };
    case 'level':
      return { enum: COMPATIBILITY_LEVELS };
    case 'duration':
      return { type: 'string', pattern: DURATION };
    case 'moment':
      return { type: 'string', pattern: `${DURATION}|${PERCENT}` };
    case 'rate':
      return {
        anyOf: [
          { type: 'number', ...bounds(field) },
          { type: 'string', pattern: RATE },
        ],
      };
    case 'list':
      return { type: 'array', maxItems: LIST_LENGTH_MAX, items: objectOf(field.fields ?? {}) };
    case 'object':
      return objectOf(field.fields ?? {});
    default:
      return { type: field.kind === 'count' ? 'integer' : 'number', ...bounds(field) };
  }
}

function objectOf(table: FieldTable): JsonSchema {
  const fields = Object.entries(table);
  const required = fields.filter(([, { isRequired }]) => isRequired).map(([name]) => name);
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(fields.map(([name, field]) => [name, schemaOf(field)])),
    ...(required.length === 0 ? {} : { required }),
  };
}

function bounds(field: Field): JsonSchema {
  const { minimum, maximum } = limitsOf(field);
  return {
    ...(Number.isFinite(minimum) ? { minimum } : {}),
    ...(Number.isFinite(maximum) ? { maximum } : {}),
  };
}
