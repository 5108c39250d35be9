//! A thread that answers numbers, over a channel: each comes with a channel for its reply.

use std::hint::black_box;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Side;

type Asked = (u64, SyncSender<u64>);

/// What `make` makes on the thread is what answers, one number at a time.
pub(crate) fn calls<F: FnMut(u64) -> u64>(make: impl FnOnce() -> F + Send + 'static) -> impl Side {
    let (calls, asked) = sync_channel::<Asked>(64);
    thread::spawn(move || {
        let mut answer = make();
        for (number, reply) in asked {
            reply.send(answer(number)).expect("whoever asked waits");
        }
    });
    Channel(calls)
}

struct Channel(SyncSender<Asked>);

impl Side for Channel {
    fn run(&mut self, jobs: u64) -> Duration {
        let begun = Instant::now();
        for number in 0..jobs {
            let (reply, answer) = sync_channel(1);
            self.0.send((number, reply)).expect("the thread waits for it");
            black_box(answer.recv().expect("it answers"));
        }
        begun.elapsed()
    }
}
