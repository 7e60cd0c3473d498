import { TareError } from '../../errors/index.ts';
import { type Token, tokenize } from './tokens.ts';

/** A command inside a pipeline: the first operand is called with the others when there are any. */
export interface Call {
  operands: Operand[];
}

export type Operand =
  | { kind: 'constant'; value: string | number | boolean | null }
  /** `.A.B`: fields of dot; `.` has none. */
  | { kind: 'field'; path: string[] }
  /** `$x.A`; `$` is the value the template was called with. */
  | { kind: 'variable'; name: string; path: string[] }
  | { kind: 'function'; name: string }
  | { kind: 'nested'; pipeline: Pipeline; path: string[] };

export interface Pipeline {
  /** `$x :=` or `$i, $v :=`; `=` assigns to what was declared. */
  variables: string[];
  assigns: boolean;
  calls: Call[];
}

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'action'; pipeline: Pipeline }
  | { kind: 'if' | 'with' | 'range'; pipeline: Pipeline; body: Node[]; otherwise: Node[] }
  | { kind: 'break' | 'continue' };

/**
 * Reads the language of Go's text/template, as far as one template without definitions goes: text, pipelines, variables, `if`,
 * `with`, `range`, `else`, `end`, `break`, `continue`, comments, trim markers.
 *
 * @throws {TareError} InvalidArgument: where and what
 */
export function parseTemplate(text: string): Node[] {
  return new Parser(tokenize(text)).template();
}

class Parser {
  readonly #tokens: Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  template(): Node[] {
    const { nodes, ended } = this.#list(0);
    if (ended) throw this.#unexpected(ended);
    return nodes;
  }

  /** Nodes up to `end` or `else` (whose action is consumed up to the word), or the template's end. */
  #list(loops: number): { nodes: Node[]; ended?: Token } {
    if (++this.#depth > 100) throw refuse('it is nested more than 100 deep');
    const nodes: Node[] = [];
    try {
      for (;;) {
        const token = this.#next();
        if (token.kind === 'text') nodes.push({ kind: 'text', text: token.text });
        else if (token.kind === 'eof') return { nodes };
        else if (token.kind === 'open') {
          const first = this.#peek();
          if (first.kind === 'close') throw refuse('missing value for command');
          if (first.kind !== 'word') {
            nodes.push({ kind: 'action', pipeline: this.#pipeline('close') });
            continue;
          }
          switch (first.text) {
            case 'end':
            case 'else':
              this.#next();
              return { nodes, ended: first };
            case 'if':
            case 'with':
            case 'range':
              this.#next();
              nodes.push(this.#control(first.text, loops));
              break;
            case 'break':
            case 'continue':
              if (loops === 0) throw refuse(`{{${first.text}}} outside {{range}}`);
              this.#next();
              this.#expect('close');
              nodes.push({ kind: first.text });
              break;
            case 'define':
            case 'template':
            case 'block':
              throw refuse(`{{${first.text}}} is not supported`);
            default:
              nodes.push({ kind: 'action', pipeline: this.#pipeline('close') });
          }
        } else throw this.#unexpected(token);
      }
    } finally {
      this.#depth--;
    }
  }

  #control(kind: 'if' | 'with' | 'range', loops: number): Node {
    const pipeline = this.#pipeline('close');
    const inner = kind === 'range' ? loops + 1 : loops;
    const { nodes: body, ended } = this.#list(inner);
    if (!ended) throw refuse(`{{${kind}}} has no {{end}}`);
    let otherwise: Node[] = [];
    if (ended.text === 'else') {
      const next = this.#peek();
      if (next.kind === 'word' && (next.text === 'if' || next.text === 'with') && kind !== 'range') {
        // `{{else if}}` shares the `{{end}}` of its `{{if}}`.
        this.#next();
        return { kind, pipeline, body, otherwise: [this.#control(next.text, loops)] };
      }
      this.#expect('close');
      const rest = this.#list(loops);
      if (!rest.ended) throw refuse(`{{${kind}}} has no {{end}}`);
      if (rest.ended.text === 'else') throw refuse(`a second {{else}} for one {{${kind}}}`);
      otherwise = rest.nodes;
    }
    this.#expect('close');
    return { kind, pipeline, body, otherwise };
  }

  #pipeline(end: 'close' | 'right'): Pipeline {
    if (++this.#depth > 100) throw refuse('it is nested more than 100 deep');
    const pipeline: Pipeline = { variables: [], assigns: false, calls: [] };
    this.#declarations(pipeline);
    for (;;) {
      const call = this.#call();
      const operand = call.operands[0]!;
      if (pipeline.calls.length > 0 && operand.kind === 'constant')
        throw refuse('a constant cannot stand behind a pipe');
      pipeline.calls.push(call);
      const token = this.#next();
      if (token.kind === end) break;
      if (token.kind !== 'pipe') throw this.#unexpected(token);
    }
    this.#depth--;
    return pipeline;
  }

  #declarations(pipeline: Pipeline): void {
    const start = this.#at;
    for (;;) {
      const token = this.#peek();
      if (token.kind !== 'variable' || token.path.length > 0) break;
      this.#next();
      pipeline.variables.push(token.text);
      const after = this.#next();
      if (after.kind === 'comma' && pipeline.variables.length < 2) continue;
      if (after.kind === 'declare' || after.kind === 'assign') {
        pipeline.assigns = after.kind === 'assign';
        return;
      }
      break;
    }
    // It was a value after all.
    this.#at = start;
    pipeline.variables = [];
  }

  #call(): Call {
    const operands: Operand[] = [];
    for (;;) {
      const token = this.#peek();
      if (token.kind === 'close' || token.kind === 'right' || token.kind === 'pipe') break;
      operands.push(this.#operand());
    }
    if (operands.length === 0) throw refuse('missing value for command');
    return { operands };
  }

  #operand(): Operand {
    const token = this.#next();
    switch (token.kind) {
      case 'constant':
        return { kind: 'constant', value: token.value };
      case 'field':
        return { kind: 'field', path: token.path };
      case 'variable':
        return { kind: 'variable', name: token.text, path: token.path };
      case 'word':
        return { kind: 'function', name: token.text };
      case 'left': {
        const pipeline = this.#pipeline('right');
        const field = this.#peek();
        // `(index .A 0).B`: only a field that follows at once belongs to the parentheses.
        if (field.kind === 'field' && field.adjacent && field.path.length > 0) {
          this.#next();
          return { kind: 'nested', pipeline, path: field.path };
        }
        return { kind: 'nested', pipeline, path: [] };
      }
      default:
        throw this.#unexpected(token);
    }
  }

  #peek(): Token {
    return this.#tokens[this.#at]!;
  }

  #next(): Token {
    const token = this.#tokens[this.#at]!;
    if (token.kind !== 'eof') this.#at++;
    return token;
  }

  #expect(kind: Token['kind']): void {
    const token = this.#next();
    if (token.kind !== kind) throw this.#unexpected(token);
  }

  #unexpected(token: Token): TareError {
    return refuse(token.kind === 'eof' ? 'it ends too early' : `unexpected ${JSON.stringify(token.text)}`);
  }
}

function refuse(why: string): TareError {
  return new TareError('InvalidArgument', `template parsing error: ${why}`);
}
