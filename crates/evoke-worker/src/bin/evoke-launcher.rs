//! The launcher as an executable of its own, for tests and benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    evoke_worker::launcher_main()
}
