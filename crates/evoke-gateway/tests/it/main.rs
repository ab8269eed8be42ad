//! The gateway as its clients meet it: real sockets, the real engine, an in-memory store and scripted functions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod auth;
mod behind;
mod bodies;
mod built_ins;
mod caches;
mod calls;
mod cancel;
mod connections;
mod control;
mod cors;
mod dead_letters;
mod decorators;
mod deploy;
mod documents;
mod drain;
mod ended;
mod events;
mod experiments;
mod later;
mod logs;
mod matching;
mod passing;
mod problems;
mod redirects;
mod reports;
mod routes;
mod runs;
mod support;
mod threads;
mod upstreams;
