//! Work that would keep a thread from all else for too long: blocking on the disk, and going over large bodies. Calls are made on few
//! threads, and each on one.

use tokio::sync::{Semaphore, oneshot};

/// Bytes that are gone over at once: less than a millisecond.
const AT_ONCE_BYTES: usize = 64 << 10;
/// Larger ones at the same time; further ones wait.
static LARGE: Semaphore = Semaphore::const_new(2);

/// Does `work`, which goes over so many bytes: at once where they are few, and else on a thread of its own.
pub(crate) async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= AT_ONCE_BYTES {
        return work();
    }
    let _turn = LARGE.acquire().await.expect("nobody closes it");
    on_thread("evoke-large", work).await
}

/// Runs `work`, which blocks on the disk, on a thread of its own, and waits for it.
pub(crate) async fn on_disk_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    on_thread("evoke-bundles", work).await
}

async fn on_thread<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || _ = done.send(work())).expect("a thread can be started");
    result.await.expect("the thread sends its result")
}

#[cfg(test)]
mod tests {
    use std::thread::current;

    use super::*;

    #[tokio::test]
    async fn what_is_large_keeps_nobody_from_going_on() {
        let here = current().id();
        assert_eq!(aside(AT_ONCE_BYTES, || current().id()).await, here);
        assert_ne!(aside(AT_ONCE_BYTES + 1, || current().id()).await, here);
    }
}
