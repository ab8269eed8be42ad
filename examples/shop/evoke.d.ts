// What Evoke hands to a function, for editors and type checkers. Types are stripped at deploy; nothing here runs.

export interface Env {
  [variable: string]: any; // environment variables of evoke.toml
  EVENTS: { publish(events: NewEvent | NewEvent[]): Promise<unknown> };
  KV: {
    get(key: string): Promise<unknown>; // null when absent
    getEntry(key: string): Promise<{ value: unknown; revision: number } | null>;
    put(key: string, value: unknown, options?: { ttl?: number; ifRevision?: number }): Promise<unknown>;
    delete(key: string, options?: { ifRevision?: number }): Promise<unknown>;
  };
}

export interface NewEvent {
  type: string;
  id?: string;
  subject?: string;
  data?: unknown;
}

export interface CloudEvent<Data> extends NewEvent {
  id: string;
  source: string;
  time: string;
  data: Data;
}

export type Context = unknown;
