//! A word to whoever waits for kernels to be compiled, where that takes longer than a moment.
//!
//! Does not know what is compiled, nor how the word is given.

use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, scope};
use std::time::Duration;

/// Compilations that take longer are told of.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is being compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiling {
    /// How many kernels are not in the cache.
    pub kernels: usize,
    /// A device's name, or an architecture's.
    pub target: String,
}

type Listener = fn(&Compiling);

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Has the process tell `listener` once of each compilation that takes more than a second, from a thread of its own. The
/// first listener stays.
pub fn on_slow_compilation(listener: Listener) {
    LISTENER.get_or_init(|| listener);
}

/// Compiles, and tells the listener where that takes long.
pub fn watched_compilation<T>(what: &Compiling, work: impl FnOnce() -> T) -> T {
    match LISTENER.get() {
        Some(listener) => told_after(PATIENCE, || listener(what), work),
        None => work(),
    }
}

/// Calls `tell` on another thread if `work` takes longer than `patience`, and waits for both.
fn told_after<T>(patience: Duration, tell: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (working, done) = mpsc::channel::<()>();
    scope(move |s| {
        // Where there is no thread to be had, the work goes on without a word.
        let _ = Builder::new().spawn_scoped(s, move || {
            if done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        // The wait ends with this value, however the work does.
        let _working = working;
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_takes_long_is_told_of_once() {
        let (told, heard) = mpsc::channel();
        let tell = || told.send(()).expect("somebody listens");
        // The work ends when it has been told of.
        let result = told_after(Duration::ZERO, tell, || heard.recv());
        assert_eq!(result, Ok(()));
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn work_that_is_soon_done_is_not() {
        let tell = || panic!("nobody waits so long");
        assert_eq!(told_after(Duration::from_secs(3600), tell, || 7), 7);
    }

    #[test]
    fn work_that_fails_ends_the_wait() {
        let work = || told_after(Duration::from_secs(3600), || {}, || panic!("it fails"));
        assert!(std::panic::catch_unwind(work).is_err());
    }
}
