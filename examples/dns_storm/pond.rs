//! millpond under that load: six threads again, with and without a seat kept free for look-ups.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use millpond::{JobHandle, JobOptions, Lane, Limits, PoolExecutor, ThreadPool, TimeLimit};

use crate::stats::Run;
use crate::storm::{Answer, LOOK_UPS, Names, SLOW_CALLS, THREADS, paced, resolve, runtime, slow_call};

/// A lane for look-ups, with one of the six seats reserved for it.
pub(crate) fn storm(names: Names) -> Result<Run, Box<dyn Error>> {
    runtime()?.block_on(async {
        let pool = reserved_pool("storm")?;
        let slow = slow_calls(&pool).await?;
        let run = paced(&names, LOOK_UPS, |name| look_up(&pool, in_lane(), name)).await;
        finish(&pool, slow).await?;
        Ok(run)
    })
}

/// No lane and no reserve, so look-ups queue behind slow calls as in tokio. But a look-up that gets no thread
/// within a second fails, and its error says why.
pub(crate) fn unreserved(names: Names) -> Result<Run, Box<dyn Error>> {
    runtime()?.block_on(async {
        let pool = Arc::new(ThreadPool::builder("unreserved").limits(Limits::fixed(THREADS)).build()?);
        let slow = slow_calls(&pool).await?;
        let options = || JobOptions::new().label("look_up").queue_limit(Duration::from_secs(1));
        let run = paced(&names, LOOK_UPS, |name| look_up(&pool, options(), name)).await;
        finish(&pool, slow).await?;
        Ok(run)
    })
}

/// Six threads, one of them kept free for the lane `dns`.
pub(crate) fn reserved_pool(name: &str) -> Result<Arc<ThreadPool>, Box<dyn Error>> {
    let pool = ThreadPool::builder(name)
        .limits(Limits::fixed(THREADS))
        .lane(Lane::new("dns").reserve(1).capacity(64))
        .build()?;
    Ok(Arc::new(pool))
}

/// How a look-up is submitted to the lane `dns`.
pub(crate) fn in_lane() -> JobOptions {
    JobOptions::new().label("look_up").lane("dns")
}

/// Submits the whole storm.
pub(crate) async fn slow_calls(pool: &ThreadPool) -> Result<Vec<JobHandle<()>>, Box<dyn Error>> {
    let mut slow = Vec::new();
    for _ in 0..SLOW_CALLS {
        slow.push(pool.with(JobOptions::new().label("slow_call")).submit(slow_call).await?);
    }
    Ok(slow)
}

/// One look-up as a job. The errors are those of the gate, of the job, and of the resolver.
pub(crate) fn look_up(
    pool: &Arc<ThreadPool>,
    options: JobOptions,
    name: Arc<str>,
) -> impl Future<Output = Answer> + Send + use<> {
    let pool = Arc::clone(pool);
    async move {
        let job = pool.with(options).submit(move || resolve(&name)).await.map_err(|error| error.to_string())?;
        job.await.map_err(|error| error.to_string())?
    }
}

/// Waits for what is left of the storm, then ends the pool.
pub(crate) async fn finish(pool: &ThreadPool, slow: Vec<JobHandle<()>>) -> Result<(), Box<dyn Error>> {
    for call in slow {
        call.await?;
    }
    pool.shutdown(TimeLimit::default()).await?;
    Ok(())
}
