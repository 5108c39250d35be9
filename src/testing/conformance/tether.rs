//! What ties a long job to the suite: when it is to end, and whether it has begun and still runs.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::sync::watch;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, block_on_within};

/// What a job that takes long is given. It is the job's for as long as its code may run: the suite takes one that was dropped for a job that runs no
/// more.
///
/// A thread [waits](Self::wait) for it in turns, and looks at what else it has to look at in between; a future [awaits](Self::cut) it. A job that runs in
/// another process takes [`far`](Self::far) there.
#[derive(Debug)]
pub struct Tether {
    line: Arc<Line>,
    noticed: AtomicBool,
}

#[derive(Debug)]
struct Line {
    cut: watch::Sender<bool>,
    /// Tethers whose jobs have looked at them.
    begun: AtomicUsize,
    /// Tethers that are there.
    held: AtomicUsize,
    far: Mutex<Vec<Far>>,
}

impl Tether {
    /// True once the job is to end.
    pub fn is_cut(&self) -> bool {
        self.notice();
        *self.line.cut.borrow()
    }

    /// Blocks the thread until the job is to end, for at most this long. True if it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        block_on_within(self.cut(), at_most).is_some()
    }

    /// Ends when the job is to end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn cut(&self) {
        self.notice();
        // The sender is ours, so it is not gone while we wait.
        let _ = self.line.cut.subscribe().wait_for(|cut| *cut).await;
    }

    /// Hands it to a job in another process of this machine, which takes it up with [`FarTether::connect`], or, if it is not written in Rust, by a TCP
    /// connection: nothing is sent over that. The connection's end from here says that the job is to end, and from there that its code runs no more.
    ///
    /// # Errors
    ///
    /// If this process may not listen on the loopback interface.
    pub fn far(self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut far = self.line.far.lock();
        // One that is cut already finds nobody.
        if !*self.line.cut.borrow() {
            far.push(Far { listener: Some(listener), job: Job::Unseen });
        }
        Ok(address)
    }

    fn notice(&self) {
        if !self.noticed.swap(true, Ordering::AcqRel) {
            self.line.begun.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Tether {
    fn drop(&mut self) {
        self.line.held.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A [`Tether`] in another process.
#[derive(Debug)]
pub struct FarTether(TcpStream);

impl FarTether {
    /// Takes it up, by its [address](Tether::far).
    ///
    /// # Errors
    ///
    /// If nobody is there any more: the job is to end.
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self(TcpStream::connect(address)?))
    }

    /// Blocks the thread until the job is to end, for at most this long, and at least a millisecond. True if it is.
    pub fn wait(&self, at_most: Duration) -> bool {
        if self.0.set_read_timeout(Some(at_most.max(Duration::from_millis(1)))).is_err() {
            return true;
        }
        !is_open(&self.0)
    }
}

/// False once the other end is gone.
fn is_open(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0]) {
        Ok(read) => read > 0,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

/// This end of a far tether.
#[derive(Debug)]
struct Far {
    /// Until it is cut.
    listener: Option<TcpListener>,
    job: Job,
}

/// A far tether's job, as far as its connection tells.
#[derive(Debug)]
enum Job {
    /// Has not taken it up, and may never: one that was dropped in this process looks the same. Exit: `Runs`.
    Unseen,
    /// Exit: `Over`.
    Runs(TcpStream),
    Over,
}

impl Far {
    fn look(&mut self) {
        if let (Job::Unseen, Some(listener)) = (&self.job, &self.listener)
            && let Ok((stream, _)) = listener.accept()
        {
            // One that would block is taken for one that is gone.
            self.job = if stream.set_nonblocking(true).is_ok() { Job::Runs(stream) } else { Job::Over };
        }
        if let Job::Runs(stream) = &self.job
            && !is_open(stream)
        {
            self.job = Job::Over;
        }
    }

    /// Whoever has not taken it up finds nobody any more.
    fn cut(&mut self) {
        self.look();
        self.listener = None;
        if let Job::Runs(stream) = &self.job {
            // One that has ended meanwhile hears nothing.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

/// The suite's end of tethers: it holds jobs until it lets them go, by hand or by its drop, so that a body that fails leaves nobody behind.
#[derive(Debug)]
pub(super) struct Hold(Arc<Line>);

impl Hold {
    pub(super) fn new() -> Self {
        let (begun, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Line { cut: watch::Sender::new(false), begun, held, far: Mutex::default() }))
    }

    pub(super) fn tether(&self) -> Tether {
        self.0.held.fetch_add(1, Ordering::AcqRel);
        Tether { line: self.0.clone(), noticed: AtomicBool::new(false) }
    }

    /// Has the jobs end.
    pub(super) fn let_go(&self) {
        let mut far = self.0.far.lock();
        self.0.cut.send_replace(true);
        far.iter_mut().for_each(Far::cut);
    }

    /// How many of the jobs have begun, whether or not they have ended.
    pub(super) fn begun(&self) -> usize {
        let far = self.look().iter().filter(|far| !matches!(far.job, Job::Unseen)).count();
        self.0.begun.load(Ordering::Acquire) + far
    }

    /// How many of the jobs have their code still, or wait for their turn; of those in other processes, how many run.
    pub(super) fn held(&self) -> usize {
        let far = self.look().iter().filter(|far| matches!(far.job, Job::Runs(_))).count();
        self.0.held.load(Ordering::Acquire) + far
    }

    fn look(&self) -> MutexGuard<'_, Vec<Far>> {
        let mut far = self.0.far.lock();
        far.iter_mut().for_each(Far::look);
        far
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Looks until it is so: what one end of a connection does takes a moment to be seen at the other.
    fn until(so: impl Fn() -> bool) {
        while !so() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_job_here_has_begun_once_it_looks_and_is_over_once_it_lets_go() {
        let hold = Hold::new();
        let (one, other) = (hold.tether(), hold.tether());
        assert_eq!((hold.begun(), hold.held()), (0, 2));
        assert!(!one.is_cut() && !one.wait(Duration::from_millis(1)));
        assert_eq!((hold.begun(), hold.held()), (1, 2), "however often it looks");
        hold.let_go();
        assert!(one.wait(LONG) && other.is_cut());
        drop(one);
        assert_eq!((hold.begun(), hold.held()), (2, 1));
    }

    #[test]
    fn a_job_elsewhere_is_seen_by_its_connection() {
        let hold = Hold::new();
        let (first, second) = (hold.tether().far().expect("a place"), hold.tether().far().expect("a place"));
        assert_eq!((hold.begun(), hold.held()), (0, 0), "nobody has taken them up");
        let there = FarTether::connect(first).expect("somebody is there");
        assert!(!there.wait(Duration::ZERO));
        until(|| (hold.begun(), hold.held()) == (1, 1));
        hold.let_go();
        assert!(there.wait(LONG));
        assert_eq!((hold.begun(), hold.held()), (1, 1), "it was let go, and runs on");
        drop(there);
        until(|| hold.held() == 0);
        assert_eq!(hold.begun(), 1);
        assert!(FarTether::connect(second).is_err(), "too late");
    }

    #[test]
    fn a_job_elsewhere_that_dies_is_over() {
        let hold = Hold::new();
        let there = FarTether::connect(hold.tether().far().expect("a place")).expect("somebody is there");
        until(|| hold.held() == 1);
        drop(there);
        until(|| hold.held() == 0);
        assert_eq!(hold.begun(), 1);
    }
}
