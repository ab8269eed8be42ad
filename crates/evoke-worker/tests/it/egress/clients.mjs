// What people write: each client as in its own documentation. Where to is in the environment.
import dns from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { text } from 'node:stream/consumers';

const { HTTP, HTTPS, ECHO } = process.env;
const host = 'api.example.test';

const get = (client, url) => new Promise((done, failed) => client.get(url, (answer) => done(text(answer))).on('error', failed));

export const handler = async () => {
  const echo = net.connect({ host, port: Number(ECHO) });
  echo.end('ping');
  return {
    'fetch': await (await fetch(`http://${host}:${HTTP}/page`)).text(),
    'fetch tls': await (await fetch(`https://${host}:${HTTPS}/page`)).text(),
    'http': await get(http, `http://${host}:${HTTP}/page`),
    'https': await get(https, `https://${host}:${HTTPS}/page`),
    'net': await text(echo),
    'resolver': (await dns.resolve4(host)).length === 1 && (await dns.lookup(host)).family === 4,
  };
};
