// What Evoke hands to functions. For editors and type checkers; nothing reads this file at run time.

interface CloudEvent<Data = unknown> {
  specversion: "1.0";
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  data?: Data;
}

/** What is left out is filled in: an id, the function as the source, the time. */
interface NewEvent {
  type: string;
  id?: string;
  source?: string;
  subject?: string;
  data?: unknown;
}

interface WriteOptions {
  /** Only if the key is at this revision; 0: only if it is absent. */
  ifRevision?: number;
}

interface KeyValue {
  /** The value, or null. */
  get<T = unknown>(key: string): Promise<T | null>;
  getEntry<T = unknown>(
    key: string,
  ): Promise<{ key: string; value: T; revision: number; expiresAt: Date | null } | null>;
  getBytes(key: string): Promise<Uint8Array | null>;
  /** `ttl` is in seconds, or a text such as "10m". Returns the revision. */
  put(key: string, value: unknown, options?: WriteOptions & { ttl?: number | string }): Promise<number>;
  putBytes(key: string, value: Uint8Array, options?: WriteOptions & { ttl?: number | string }): Promise<number>;
  /** Returns whether there was something to delete. */
  delete(key: string, options?: WriteOptions): Promise<boolean>;
  list<T = unknown>(
    options?: { prefix?: string; after?: string; limit?: number; values?: boolean },
  ): Promise<{ key: string; revision: number; value?: T }[]>;
  /** Another part of the app's state. */
  namespace(name: string): KeyValue;
}

interface Env {
  EVENTS: { publish(events: NewEvent | NewEvent[]): Promise<unknown> };
  KV: KeyValue;
  /** The other functions of the app, by name. */
  FUNCTIONS: { [name: string]: { fetch(request: Request | string, init?: RequestInit): Promise<Response> } };
}

/** The third argument of a handler. */
interface Context {
  readonly run: string;
  readonly attempt: number;
  /** Path parameters of the route. */
  readonly params: { [name: string]: string };
  readonly deadline: Date;
  readonly signal: AbortSignal;
  /** Keeps the call open until the promise settles. */
  waitUntil(promise: Promise<unknown>): void;
}
