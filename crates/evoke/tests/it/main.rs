//! The executable from the outside: real processes, real files, real functions.

mod app;
mod bad_input;
mod commands;
mod dev;
mod evoke;
mod help;
mod life;
mod new;
