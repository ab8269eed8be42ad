// Types of what Evoke hands to functions, for editors and type checkers: `import type { Env, Context } from "./evoke.d.ts"`.
// Nothing here runs. docs/reference/functions.md describes it.

/** `env`: the function's variables, and the bindings. Describe your variables with the type parameter. */
export type Env<Variables extends Record<string, string> = Record<string, string>> = Variables & Bindings;

export interface Bindings {
  EVENTS: Events;
  KV: KeyValue;
  /** Other functions of the app by name. */
  FUNCTIONS: Record<string, Callee>;
}

export interface Events {
  publish(event: NewEvent, options?: PublishOptions): Promise<EventReference>;
  publish(events: NewEvent[], options?: PublishOptions): Promise<EventReference[]>;
  /** Has the function `then` called with a `WaitEnded` when such an event comes, or after `timeout`. */
  waitFor(wait: NewWait): Promise<{ id: string; until: string }>;
}

export interface NewWait {
  /** A type, or a prefix ending in `*`. */
  event: string;
  /** A CESQL expression over the attributes. */
  where?: string;
  /** An EventBridge pattern over attributes and data, such as `{ data: { ticket: ["T-17"] } }`. */
  pattern?: Record<string, unknown>;
  /** Seconds, or a duration such as "7d"; at most 366 days. */
  timeout: number | string;
  /** A function of the app. */
  then: string;
  /** What it gets beside the event: a JSON value of up to 64 KiB. */
  data?: unknown;
}

/** What the function of a wait gets: an `evoke.wait.matched` or `evoke.wait.timed_out`. */
export type WaitEnded<Kept = unknown, Awaited = unknown> = CloudEvent<{
  data: Kept;
  event: CloudEvent<Awaited> | null;
  timed_out: boolean;
  waited: { id: string; function: string; run: string; trigger: Record<string, unknown>; since: string; until: string };
}>;

/** When the events are to be delivered; at once without either. */
export interface PublishOptions {
  /** Seconds, or a duration such as "10m". */
  delay?: number | string;
  /** A time, at most a year away. */
  deliverAt?: Date | string;
}

/** What is left out is filled in by the platform. */
export interface NewEvent<Data = unknown> {
  type: string;
  id?: string;
  source?: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  dataschema?: string;
  data?: Data;
  data_base64?: string;
  [extension: string]: unknown;
}

export interface EventReference {
  id: string;
  source: string;
}

/** An event as handlers get it. */
export interface CloudEvent<Data = unknown> extends NewEvent<Data> {
  specversion: "1.0";
  id: string;
  source: string;
  data: Data;
}

export interface KeyValue {
  /** The JSON value, or null. */
  get<Value = unknown>(key: string): Promise<Value | null>;
  getEntry<Value = unknown>(key: string): Promise<Entry<Value> | null>;
  getBytes(key: string): Promise<Uint8Array | null>;
  /** Returns the revision. */
  put(key: string, value: unknown, options?: PutOptions): Promise<number>;
  putBytes(key: string, value: Uint8Array | ArrayBuffer, options?: PutOptions): Promise<number>;
  /** Returns whether there was something to delete. */
  delete(key: string, options?: Condition): Promise<boolean>;
  list<Value = unknown>(options?: ListOptions): Promise<ListedEntry<Value>[]>;
  /** Another part of the app's state; keys are separate. */
  namespace(name: string): KeyValue;
}

export interface Entry<Value> {
  key: string;
  value: Value;
  revision: number;
  expiresAt: Date | null;
}

export interface ListedEntry<Value> {
  key: string;
  revision: number;
  /** With `values: true`. */
  value?: Value;
}

export interface Condition {
  /** The revision the key must be at; 0 or null: it must be absent. Leave it out to write in any case. */
  ifRevision?: number | null;
}

export interface PutOptions extends Condition {
  /** Seconds, or a duration such as "10m". */
  ttl?: number | string;
}

export interface ListOptions {
  prefix?: string;
  /** A key: only those after it. */
  after?: string;
  /** 1,000 by default. */
  limit?: number;
  values?: boolean;
}

export interface Callee {
  /** Like the global fetch; of the URL only path and query count. */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/** What the platform refused. */
export interface EvokeError extends Error {
  name: "EvokeError";
  code: string;
  status: number;
}

/** `ctx` of web-style handlers, and `context` of Lambda-style ones. */
export interface Context {
  readonly run: string;
  /** 1 for the first. */
  readonly attempt: number;
  readonly cause: { root: string; parent: string | null; depth: number; traceId: string; spanId: string };
  /** Parameters of the route. */
  readonly params: Record<string, string>;
  readonly app: string;
  readonly function: string;
  readonly revision: string;
  readonly deadline: Date;
  readonly env: Env;
  /** Fires when time is up or the caller has gone away. */
  readonly signal: AbortSignal;
  remainingTimeMs(): number;
  /** Keeps the call open until the promise settles. */
  waitUntil(promise: Promise<unknown>): void;
  /**
   * Goes on along the route, in a function that is one of its decorators: with `request`, or as it came. A body that was not
   * read passes without going through this process. Lambda-style handlers give an event and get a `NextAnswer`.
   */
  next(request?: Request, init?: { method?: string; headers?: HeadersInit; body?: BodyInit | null }): Promise<Response>;
  next(event?: object): Promise<NextAnswer>;

  readonly awsRequestId: string;
  readonly functionName: string;
  readonly functionVersion: string;
  readonly invokedFunctionArn: string;
  readonly memoryLimitInMB: string;
  readonly logGroupName: string;
  readonly logStreamName: string;
  getRemainingTimeInMillis(): number;
}

/** What is next answered, for Lambda-style handlers: to be returned as it is, or with another `body`. */
export interface NextAnswer {
  statusCode: number;
  headers: Record<string, string>;
  cookies: string[];
  body?: string | Uint8Array;
  bytes(): Promise<Uint8Array>;
  text(): Promise<string>;
  json(): Promise<unknown>;
}

/** A web-style function: `export default { … } satisfies Handlers`. */
export interface Handlers<E = Env> {
  fetch?(request: Request, env: E, ctx: Context): Response | Promise<Response>;
  event?(event: CloudEvent<any>, env: E, ctx: Context): Returned | Promise<Returned>;
}

export type Returned = void | null | NewEvent | NewEvent[];
