//! Who listens while a job runs.

use std::thread::Thread;
use std::time::Duration;

use super::post::Post;
use super::{End, complain, leave};
use crate::backend::process::bell::Bell;
use crate::backend::process::sys;
use crate::sync::{Arc, AtomicBool, Ordering};

/// A job that is over within this is not listened for.
const MOMENT: Duration = Duration::from_millis(2);

/// The thread that listens, seen from the one that runs jobs.
#[derive(Debug)]
pub(super) struct Ear {
    thread: Thread,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// It sleeps until a job begins.
    asleep: AtomicBool,
    /// It has, or is about to have, the reading of the socket.
    listening: AtomicBool,
    bell: Arc<Bell>,
}

impl Ear {
    #[expect(clippy::disallowed_methods, reason = "a worker's second thread")]
    pub(super) fn start(post: &Arc<Post>) -> Result<Self, End> {
        let (asleep, listening) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { asleep, listening, bell: Bell::new()? });
        let (theirs, post) = (shared.clone(), post.clone());
        let thread = std::thread::Builder::new().name("millpond-ear".to_owned());
        let handle = thread.spawn(move || theirs.attend(&post))?;
        Ok(Self { thread: handle.thread().clone(), shared })
    }

    /// A job begins. Costs a look, unless the ear was asleep.
    pub(super) fn attend(&self) {
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// The job is over: whoever reads next is the thread that runs jobs.
    pub(super) fn let_go(&self) {
        if self.shared.listening.load(Ordering::SeqCst) {
            self.shared.bell.ring();
        }
    }
}

impl Shared {
    fn attend(&self, post: &Post) {
        // How many jobs had begun by the last look.
        let mut begun = 0;
        loop {
            let (claim, before) = (post.running(), begun);
            begun = post.begun();
            // One that finds none between two jobs, as it seems, looks again: to be woken for the next one costs more.
            if claim == 0 && begun == before {
                // SeqCst with `begin` and `Ear::attend`: either the job is seen here, or this is seen there.
                self.asleep.store(true, Ordering::SeqCst);
                if post.running() == 0 {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                continue;
            }
            std::thread::park_timeout(MOMENT);
            if claim != 0 && post.running() == claim {
                self.hear_for(post, claim);
            }
        }
    }

    /// Listens until the job is over.
    fn hear_for(&self, post: &Post, claim: u64) {
        self.listening.store(true, Ordering::SeqCst);
        let heard = post.say_put_off().and_then(|()| post.listen(&self.bell, || post.running() == claim));
        self.listening.store(false, Ordering::SeqCst);
        match heard {
            Ok(()) => {}
            Err(End::ParentGone) => sys::kill_own_group(),
            Err(end) => {
                complain(&end);
                leave(1);
            }
        }
    }
}
