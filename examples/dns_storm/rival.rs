//! tokio alone: look-ups and slow calls share the blocking threads of one runtime.

use std::error::Error;
use std::sync::Arc;

use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::stats::Run;
use crate::storm::{Answer, LOOK_UPS, Names, SLOW_CALLS, THREADS, paced, runtime, slow_call};

/// Nothing but look-ups.
pub(crate) fn idle(names: Names) -> Result<Run, Box<dyn Error>> {
    Ok(runtime()?.block_on(paced(&names, LOOK_UPS, look_up)))
}

/// Look-ups behind slow calls: `lookup_host` itself runs on a blocking thread, last in the same queue.
pub(crate) fn storm(names: Names) -> Result<Run, Box<dyn Error>> {
    runtime()?.block_on(async {
        let mut slow = JoinSet::new();
        for _ in 0..SLOW_CALLS {
            slow.spawn_blocking(slow_call);
        }
        let run = paced(&names, LOOK_UPS, look_up).await;
        slow.join_all().await;
        Ok(run)
    })
}

/// The rival's cure: a semaphore lets the slow calls have all threads but one. It works as long as *every* slow call
/// of the program, those of its libraries included, goes through that semaphore.
pub(crate) fn bulkhead(names: Names) -> Result<Run, Box<dyn Error>> {
    runtime()?.block_on(async {
        let bulkhead = Arc::new(Semaphore::new(THREADS - 1));
        let mut slow = JoinSet::new();
        for _ in 0..SLOW_CALLS {
            let bulkhead = Arc::clone(&bulkhead);
            slow.spawn(async move {
                let permit = bulkhead.acquire_owned().await.expect("nobody closes it");
                let call = tokio::task::spawn_blocking(move || {
                    slow_call();
                    drop(permit);
                });
                call.await.expect("a slow call does not panic");
            });
        }
        // The storm has begun once the slow calls hold every permit.
        while bulkhead.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let run = paced(&names, LOOK_UPS, look_up).await;
        slow.join_all().await;
        Ok(run)
    })
}

async fn look_up(name: Arc<str>) -> Answer {
    lookup_host((&*name, 0)).await.map(drop).map_err(|error| error.to_string())
}
