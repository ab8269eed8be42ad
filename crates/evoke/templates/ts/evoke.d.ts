// What Evoke hands to functions. For the editor only; nothing reads this file at run time.

interface CloudEvent<T = unknown> {
  specversion: "1.0";
  id: string;
  source: string;
  type: string;
  subject?: string;
  time?: string;
  datacontenttype?: string;
  data?: T;
}

interface NewEvent {
  type: string;
  id?: string;
  source?: string;
  subject?: string;
  data?: unknown;
}

interface Namespace {
  get<T = unknown>(key: string): Promise<T | null>;
  put(key: string, value: unknown, options?: { ttl?: number | string; ifRevision?: number }): Promise<unknown>;
  delete(key: string, options?: { ifRevision?: number }): Promise<unknown>;
  list(options?: { prefix?: string }): Promise<unknown>;
}

interface Env {
  EVENTS: { publish(events: NewEvent | NewEvent[]): Promise<unknown> };
  KV: Namespace & { namespace(name: string): Namespace };
  FUNCTIONS: Record<string, { fetch(request: Request | string, init?: RequestInit): Promise<Response> }>;
}
