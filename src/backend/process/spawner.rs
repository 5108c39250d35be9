//! The one thread that forks.
//!
//! The parent-death signal of Linux follows the thread that forked: so children are forked by a thread that lives as long as the process.
//! One after the other, which is what the kernel's lock on the address space makes of forks in any case.

use std::io;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::sync::Mutex;

struct Order {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// Orders that may wait; whoever has one more waits to place it.
const ORDERS: usize = 64;

static SPAWNER: Mutex<Option<SyncSender<Order>>> = parking_lot::const_mutex(None);

/// Spawns on the spawner's thread, and waits for that.
///
/// # Errors
///
/// If the system refuses the process, or the thread.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let (reply, spawned) = sync_channel(1);
    let orders = orders()?;
    let gone = || io::Error::other("the thread that spawns is gone");
    orders.send(Order { command, reply }).map_err(|_| gone())?;
    spawned.recv().map_err(|_| gone())?
}

/// The way to the thread, which is started by the first who asks.
#[expect(clippy::disallowed_methods, reason = "the home of the spawner")]
fn orders() -> io::Result<SyncSender<Order>> {
    let mut spawner = SPAWNER.lock();
    if let Some(orders) = &*spawner {
        return Ok(orders.clone());
    }
    let (orders, placed) = sync_channel(ORDERS);
    std::thread::Builder::new().name("millpond-spawner".to_owned()).spawn(move || work(&placed))?;
    Ok(spawner.insert(orders).clone())
}

fn work(orders: &Receiver<Order>) {
    while let Ok(Order { mut command, reply }) = orders.recv() {
        let spawned = command.spawn();
        // Whoever ordered it waits for it; were they gone, the child would have no owner.
        if let Err(std::sync::mpsc::SendError(Ok(mut child))) = reply.send(spawned) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
