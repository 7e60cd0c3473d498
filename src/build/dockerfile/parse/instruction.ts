import type { ImageHealthcheck } from '../../../image/index.ts';
import type { LineRange } from '../../progress.ts';

/**
 * A Dockerfile as text says it: nothing is expanded, looked up or checked against the world. Words keep their quotes, escapes and variables
 * until somebody expands them (`expandWord`).
 *
 * @see https://docs.docker.com/reference/dockerfile/
 */
export interface Dockerfile {
  readonly directives: Directives;
  /** ARGs before the first stage, in order. */
  readonly metaArgs: readonly ArgInstruction[];
  readonly stages: readonly Stage[];
  /** Instructions that go on over an empty line, as one line each. */
  readonly emptyContinuations: readonly { readonly ranges: readonly LineRange[] }[];
}

export type EscapeCharacter = '\\' | '`';

/** What the comments at the top tell the parser. */
export interface Directives {
  readonly escape: EscapeCharacter;
  readonly syntax?: Directive;
  readonly check?: Directive;
}

export interface Directive {
  readonly value: string;
  readonly ranges: readonly LineRange[];
}

/** What every instruction has. */
export interface Written {
  /** The instruction's name in the case in which it is written. */
  readonly keyword: string;
  /** Its text without comments, continued lines joined, outer spaces trimmed; here-documents without their bodies. For history and progress. */
  readonly original: string;
  readonly ranges: readonly LineRange[];
  /** Lines of the comment just above it. */
  readonly comments: readonly string[];
}

/** FROM and what follows up to the next one. */
export interface Stage extends Written {
  readonly kind: 'from';
  /** In lower case; undefined: only its position names it. */
  readonly name: string | undefined;
  /** As it is written. */
  readonly writtenName: string | undefined;
  /** `AS` as it is written. */
  readonly asKeyword: string | undefined;
  /** Unexpanded: an image, a stage, a named context, `scratch`. */
  readonly base: string;
  /** Unexpanded; undefined: none is asked for. */
  readonly platform: string | undefined;
  /** What the comment above says about it, when it begins with its name. */
  readonly description: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** `<<EOF` and the lines that belong to it. */
export interface HereDocument {
  readonly name: string;
  /** Body without its terminator; every line with its end. Tabs at line starts are still there, also for `<<-`. */
  readonly content: string;
  /** The name is not quoted: variables are expanded, by the frontend in COPY and ADD, by the shell in RUN. */
  readonly isExpanded: boolean;
  /** `<<-`: tabs at line starts go (`chompTabs`). */
  readonly isChomped: boolean;
  /** Number before `<<`; 0 if there is none. */
  readonly fileDescriptor: number;
}

/** A command line in one of its two forms. */
export interface CommandLine {
  /** `json`: `words` run as they are; `shell`: the one word (none if it is empty) is for the shell. */
  readonly form: 'json' | 'shell';
  readonly words: readonly string[];
  readonly hereDocuments: readonly HereDocument[];
}

/** Unexpanded on both sides. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

/** Sources and destination of COPY and ADD, unexpanded. */
export interface Transfer {
  readonly sources: readonly string[];
  /** Sources that are written in the file; the name is that of the file made of it. Tabs are removed already. */
  readonly inline: readonly { readonly name: string; readonly content: string; readonly isExpanded: boolean }[];
  readonly destination: string;
  readonly chown: string | undefined;
  readonly chmod: string | undefined;
  readonly isLink: boolean;
  readonly keepsParents: boolean;
  readonly excludes: readonly string[];
}

export interface EnvInstruction extends Written {
  readonly kind: 'env';
  readonly pairs: readonly Pair[];
  /** `ENV KEY VALUE`, the old form: the value is all that follows. */
  readonly isLegacy: boolean;
}

export interface LabelInstruction extends Written {
  readonly kind: 'label';
  readonly pairs: readonly Pair[];
  readonly isLegacy: boolean;
}

export interface ArgInstruction extends Written {
  readonly kind: 'arg';
  /** A value that is undefined: only declared. */
  readonly args: readonly {
    readonly key: string;
    readonly value: string | undefined;
    /** What the comment above says about it, when it begins with its name. */
    readonly description: string | undefined;
  }[];
}

export interface CopyInstruction extends Written, Transfer {
  readonly kind: 'copy';
  /** A stage's name or position, a named context or an image; variables are not expanded in it. */
  readonly from: string | undefined;
}

export interface AddInstruction extends Written, Transfer {
  readonly kind: 'add';
  readonly checksum: string | undefined;
  /** Undefined: not said. */
  readonly keepsGitDir: boolean | undefined;
  /** Undefined: as the kind of source has it. */
  readonly isUnpacked: boolean | undefined;
}

/** The comma-separated fields of one `--mount`, unexpanded. Read them with `readMount` once variables are known. */
export interface MountFlag {
  readonly text: string;
  readonly fields: readonly { readonly key: string; readonly value: string | undefined }[];
  /** The stage, named context or image that it mounts from: needed before anything is expanded, so no variables are in it. */
  readonly from: string | undefined;
}

/** A `--mount` with variables expanded; '' where nothing is said. */
export interface Mount {
  readonly type: 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh';
  readonly from: string | undefined;
  readonly source: string;
  readonly target: string;
  readonly isReadOnly: boolean;
  readonly sizeBytes: number | undefined;
  /** Of a cache, a secret, an agent. */
  readonly id: string;
  readonly isRequired: boolean;
  /** Name of the variable that a secret comes in, '' for the secret's own; undefined: in none. */
  readonly env: string | undefined;
  readonly sharing: 'shared' | 'private' | 'locked';
  readonly mode: number | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
}

export interface DeviceFlag {
  readonly name: string;
  readonly isRequired: boolean;
}

export interface RunInstruction extends Written {
  readonly kind: 'run';
  readonly command: CommandLine;
  readonly mounts: readonly MountFlag[];
  readonly network: 'default' | 'none' | 'host' | undefined;
  readonly security: 'sandbox' | 'insecure' | undefined;
  readonly devices: readonly DeviceFlag[];
}

export interface CmdInstruction extends Written {
  readonly kind: 'cmd';
  readonly command: CommandLine;
}

export interface EntrypointInstruction extends Written {
  readonly kind: 'entrypoint';
  readonly command: CommandLine;
}

/** Nothing of it is expanded. Durations in nanoseconds, as in an image's config. */
export interface HealthcheckInstruction extends Written {
  readonly kind: 'healthcheck';
  readonly check: ImageHealthcheck;
}

export interface ExposeInstruction extends Written {
  readonly kind: 'expose';
  /** Unexpanded, sorted as text; an expanded one may be several words. */
  readonly ports: readonly string[];
}

export interface VolumeInstruction extends Written {
  readonly kind: 'volume';
  readonly paths: readonly string[];
}

export interface UserInstruction extends Written {
  readonly kind: 'user';
  readonly user: string;
}

export interface WorkdirInstruction extends Written {
  readonly kind: 'workdir';
  readonly path: string;
}

export interface StopsignalInstruction extends Written {
  readonly kind: 'stopsignal';
  readonly signal: string;
}

export interface ShellInstruction extends Written {
  readonly kind: 'shell';
  readonly shell: readonly string[];
}

export interface OnbuildInstruction extends Written {
  readonly kind: 'onbuild';
  /** As it goes into the image's config, here-documents with their bodies. Read it later with `parseTrigger`. */
  readonly expression: string;
}

export interface MaintainerInstruction extends Written {
  readonly kind: 'maintainer';
  readonly maintainer: string;
}

/** All that stands in a stage. */
export type Instruction =
  | AddInstruction
  | ArgInstruction
  | CmdInstruction
  | CopyInstruction
  | EntrypointInstruction
  | EnvInstruction
  | ExposeInstruction
  | HealthcheckInstruction
  | LabelInstruction
  | MaintainerInstruction
  | OnbuildInstruction
  | RunInstruction
  | ShellInstruction
  | StopsignalInstruction
  | UserInstruction
  | VolumeInstruction
  | WorkdirInstruction;
