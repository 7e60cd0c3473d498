import { TareError } from '../../errors/index.ts';
import { functions, isTruthy } from './functions.ts';
import type { Call, Node, Operand, Pipeline } from './parse.ts';
import { goText, NO_VALUE } from './text.ts';

/**
 * Renders a parsed template.
 *
 * A value's fields are its own properties; a property that is a function is called with the arguments that follow it (docker's
 * methods, `{{.Label "x"}}`).
 *
 * @throws {TareError} InvalidArgument: an unknown field of a record, a function's wrong argument
 */
export function execute(nodes: readonly Node[], data: unknown): string {
  const execution = new Execution(data);
  execution.run(nodes, data);
  return execution.output;
}

class LoopControl extends Error {
  readonly kind: 'break' | 'continue';
  constructor(kind: 'break' | 'continue') {
    super(kind);
    this.kind = kind;
  }
}

class Execution {
  output = '';
  /** Innermost last. */
  #variables: { name: string; value: unknown }[];

  constructor(data: unknown) {
    this.#variables = [{ name: '$', value: data }];
  }

  run(nodes: readonly Node[], dot: unknown): void {
    for (const node of nodes) {
      switch (node.kind) {
        case 'text':
          this.output += node.text;
          break;
        case 'action': {
          const value = this.#pipeline(node.pipeline, dot);
          if (node.pipeline.variables.length === 0) this.output += goText(value);
          break;
        }
        case 'if':
        case 'with':
          this.#scope(() => {
            const value = this.#pipeline(node.pipeline, dot);
            if (isTruthy(value)) this.run(node.body, node.kind === 'with' ? value : dot);
            else this.run(node.otherwise, dot);
          });
          break;
        case 'range':
          this.#range(node, dot);
          break;
        default:
          throw new LoopControl(node.kind);
      }
    }
  }

  #scope(body: () => void): void {
    const depth = this.#variables.length;
    try {
      body();
    } finally {
      this.#variables.length = depth;
    }
  }

  #range(node: Extract<Node, { kind: 'if' | 'with' | 'range' }>, dot: unknown): void {
    this.#scope(() => {
      const { variables, assigns, calls } = node.pipeline;
      const items = iterate(this.#pipeline({ variables: [], assigns: false, calls }, dot));
      if (items.length === 0) return this.run(node.otherwise, dot);
      for (const [key, value] of items) {
        const done = this.#once(() => {
          const names = variables.length === 2 ? [variables[0]!, variables[1]!] : variables;
          const values = names.length === 2 ? [key, value] : [value];
          names.forEach((name, i) => {
            this.#set(name, values[i], assigns);
          });
          this.run(node.body, value);
        });
        if (done) break;
      }
    });
  }

  /** @returns true when the loop is to end */
  #once(body: () => void): boolean {
    try {
      this.#scope(body);
      return false;
    } catch (error) {
      if (error instanceof LoopControl) return error.kind === 'break';
      throw error;
    }
  }

  #set(name: string, value: unknown, assigns: boolean): void {
    if (!assigns) {
      this.#variables.push({ name, value });
      return;
    }
    const variable = this.#variables.findLast((candidate) => candidate.name === name);
    if (!variable) throw refuse(`undefined variable ${name}`);
    variable.value = value;
  }

  #pipeline(pipeline: Pipeline, dot: unknown): unknown {
    let piped: { value: unknown } | undefined;
    for (const call of pipeline.calls) piped = { value: this.#call(call, dot, piped) };
    const [name] = pipeline.variables;
    if (name !== undefined) this.#set(name, piped?.value, pipeline.assigns);
    return piped?.value;
  }

  #call(call: Call, dot: unknown, piped: { value: unknown } | undefined): unknown {
    const [first, ...rest] = call.operands as [Operand, ...Operand[]];
    const args = () => [...rest.map((operand) => this.#operand(operand, dot)), ...(piped ? [piped.value] : [])];
    if (first.kind === 'function') return this.#function(first.name, rest, args, dot, piped);
    if (first.kind === 'field' && first.path.length > 0) return lookUp(dot, first.path, args());
    if (first.kind === 'variable' && first.path.length > 0)
      return lookUp(this.#variable(first.name), first.path, args());
    if (rest.length > 0 || piped) throw refuse(`can't give argument to non-function ${describe(first)}`);
    return this.#operand(first, dot);
  }

  #function(
    name: string,
    rest: Operand[],
    args: () => unknown[],
    dot: unknown,
    piped: { value: unknown } | undefined,
  ): unknown {
    if (name === 'and' || name === 'or') {
      // Evaluated only as far as the answer needs it.
      let value: unknown;
      for (const operand of [...rest.map((r) => () => this.#operand(r, dot)), ...(piped ? [() => piped.value] : [])]) {
        value = operand();
        if (isTruthy(value) === (name === 'or')) return value;
      }
      return value;
    }
    const body = Object.hasOwn(functions, name) ? functions[name] : undefined;
    if (!body) throw new TareError('InvalidArgument', `template parsing error: function "${name}" not defined`);
    return body(...args());
  }

  #operand(operand: Operand, dot: unknown): unknown {
    switch (operand.kind) {
      case 'constant':
        return operand.value;
      case 'field':
        return operand.path.length === 0 ? dot : lookUp(dot, operand.path, []);
      case 'variable':
        return lookUp(this.#variable(operand.name), operand.path, []);
      case 'nested':
        return lookUp(this.#pipeline(operand.pipeline, dot), operand.path, []);
      case 'function':
        return this.#function(operand.name, [], () => [], dot, undefined);
    }
  }

  #variable(name: string): unknown {
    const variable = this.#variables.findLast((candidate) => candidate.name === name);
    if (!variable) throw refuse(`undefined variable ${name}`);
    return variable.value;
  }
}

/** Fields one after the other; the last one gets the arguments when it is a method. */
function lookUp(value: unknown, path: readonly string[], args: readonly unknown[]): unknown {
  let current = value;
  for (const [i, name] of path.entries()) {
    if (current === null || current === undefined || current === NO_VALUE)
      throw refuse(`nil data; no entry for key "${name}"`);
    if (typeof current !== 'object' || Array.isArray(current))
      throw refuse(`can't evaluate field ${name} in type ${Array.isArray(current) ? 'list' : typeof current}`);
    if (!Object.hasOwn(current, name)) throw refuse(`map has no entry for key "${name}"`);
    const field: unknown = (current as Record<string, unknown>)[name];
    const last = i === path.length - 1;
    if (typeof field === 'function') current = field(...(last ? args : []));
    else {
      if (last && args.length > 0) throw refuse(`${name} has arguments but cannot be invoked as function`);
      current = field;
    }
  }
  return current;
}

function iterate(value: unknown): [key: unknown, value: unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((item, i) => [i, item]);
  if (typeof value === 'number') return Array.from({ length: Math.max(0, Math.trunc(value)) }, (_, i) => [i, i]);
  if (typeof value === 'object')
    return Object.keys(value)
      .sort()
      .map((key) => [key, (value as Record<string, unknown>)[key]]);
  throw refuse(`range can't iterate over ${JSON.stringify(value)}`);
}

function describe(operand: Operand): string {
  return operand.kind === 'constant' ? JSON.stringify(operand.value) : operand.kind;
}

function refuse(why: string): TareError {
  return new TareError('InvalidArgument', `template: ${why}`);
}
