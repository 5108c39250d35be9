//! What is the same on both sides: the slow calls, the look-ups and their pace.

use std::future::Future;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::stats::Run;

/// Blocking threads on each side.
pub(crate) const THREADS: usize = 6;
/// Slow calls in a storm, all submitted before the first look-up.
pub(crate) const SLOW_CALLS: usize = 60;
/// How long one slow call keeps its thread.
pub(crate) const SLOW_CALL: Duration = Duration::from_millis(500);
/// From one look-up to the next, whether or not the last one has been answered.
pub(crate) const PACE: Duration = Duration::from_millis(50);
/// Three seconds of look-ups.
pub(crate) const LOOK_UPS: usize = 60;

/// The names that are looked up, in turn.
pub(crate) type Names = Arc<[Arc<str>]>;
/// A look-up's answer; what matters here is when it comes, and the text of its error.
pub(crate) type Answer = Result<(), String>;

/// A call that blocks its thread: a big file, a compression, a C library.
pub(crate) fn slow_call() {
    std::thread::sleep(SLOW_CALL);
}

/// Asks the system's resolver and blocks until it answers.
pub(crate) fn resolve(name: &str) -> Answer {
    (name, 0).to_socket_addrs().map(drop).map_err(|error| error.to_string())
}

/// A runtime with exactly [`THREADS`] blocking threads.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(THREADS).enable_all().build()
}

/// Starts `count` look-ups, one every [`PACE`], and waits for all of them, however long they take.
///
/// `look_up` is called when a look-up is due; its time runs from there to the answer.
pub(crate) async fn paced<F, L>(names: &Names, count: usize, look_up: L) -> Run
where
    L: Fn(Arc<str>) -> F,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut due = tokio::time::interval(PACE);
    for name in names.iter().cycle().take(count) {
        due.tick().await;
        let begun = Instant::now();
        let answer = look_up(Arc::clone(name));
        running.spawn(async move {
            let answer = answer.await;
            (begun.elapsed(), answer)
        });
    }
    Run::of(running.join_all().await)
}
