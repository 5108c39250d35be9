//! A payload that is being put together: in its frame, or, once it is large, in a memory file.

use std::io;
use std::os::fd::OwnedFd;

use super::frame::{self, HEADER};
use super::memory::MemoryFile;

/// A payload that is longer travels by a memory file, where both sides can. Below, a file costs more than the copies.
pub(super) const THRESHOLD: usize = 512 << 10;
/// What is collected before it is written to the file.
const CHUNK: usize = 64 << 10;

/// What goes with a frame, if something does.
pub(super) type Enclosed = Option<OwnedFd>;

/// Why a frame cannot be sent.
#[derive(Debug)]
pub(super) enum Unsendable {
    /// Its body would have so many bytes.
    TooLarge(usize),
    /// The system has no memory for it.
    Refused(io::Error),
}

/// How payloads may travel, and how large they may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Of a frame's body, and of what would be one.
    pub(super) limit: u32,
    /// Both sides can send and take memory files.
    pub(super) shares: bool,
    /// The pool, by which `/proc` names the file.
    pub(super) pool: &'a str,
}

#[derive(Debug)]
enum Hold {
    /// All of it is in the frame.
    Frame,
    /// The frame has the last of it.
    File(MemoryFile),
    /// It is only counted any more.
    Over(Option<io::Error>),
}

/// See the module. Costs no more memory than the limit, whatever is put in.
#[derive(Debug)]
pub(super) struct Freight<'a> {
    frame: &'a mut Vec<u8>,
    /// Where the frame begins, and where in it the payload does.
    at: usize,
    payload: usize,
    /// How long the frame may become before something is to be done.
    full: usize,
    /// How much of the payload is not in the frame.
    gone: usize,
    hold: Hold,
    terms: Terms<'a>,
    /// Who puts it together need not go on once it is too long.
    stops: bool,
}

impl<'a> Freight<'a> {
    /// For the frame that begins at `at`; its payload is what is put in here, after what is there already.
    pub(super) fn new(frame: &'a mut Vec<u8>, at: usize, terms: Terms<'a>) -> Self {
        let payload = frame.len();
        let room = if terms.shares { terms.limit.min(THRESHOLD as u32) } else { terms.limit };
        let full = at + HEADER + room as usize;
        Self { frame, at, payload, full, gone: 0, hold: Hold::Frame, terms, stops: false }
    }

    /// How much too long it is does not matter.
    pub(super) fn stop_when_full(&mut self) {
        self.stops = true;
    }

    /// True once nothing more need be put in.
    pub(super) fn is_stopped(&self) -> bool {
        self.stops && matches!(self.hold, Hold::Over(_))
    }

    pub(super) fn push(&mut self, byte: u8) {
        if self.frame.len() < self.full {
            self.frame.push(byte);
        } else {
            self.make_room_for(&[byte]);
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.frame.len() + bytes.len() <= self.full {
            self.frame.extend_from_slice(bytes);
        } else {
            self.make_room_for(bytes);
        }
    }

    /// What the frame's body would be if all of it were in there.
    fn length(&self) -> usize {
        self.gone + self.frame.len() - self.at - HEADER
    }

    #[cold]
    fn make_room_for(&mut self, bytes: &[u8]) {
        if let Hold::Over(_) = self.hold {
            self.gone += bytes.len();
            return;
        }
        if self.length() + bytes.len() > self.terms.limit as usize {
            self.give_up(None);
            self.gone += bytes.len();
            return;
        }
        if let Hold::Frame = self.hold {
            match MemoryFile::new(self.terms.pool) {
                Ok(file) => {
                    self.hold = Hold::File(file);
                    self.full = self.payload + CHUNK;
                }
                // Without one it goes by the socket: it is only slower.
                Err(_) => self.full = self.at + HEADER + self.terms.limit as usize,
            }
        }
        if let Err(error) = self.spill(bytes) {
            self.give_up(Some(error));
        }
    }

    /// Writes what has been collected, and `bytes` too if they are many.
    fn spill(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Hold::File(file) = &mut self.hold {
            file.write(&self.frame[self.payload..])?;
            self.gone += self.frame.len() - self.payload;
            self.frame.truncate(self.payload);
            if bytes.len() >= CHUNK {
                file.write(bytes)?;
                self.gone += bytes.len();
                return Ok(());
            }
        }
        self.frame.extend_from_slice(bytes);
        Ok(())
    }

    /// From now on it is only counted.
    fn give_up(&mut self, error: Option<io::Error>) {
        self.gone += self.frame.len() - self.payload;
        self.frame.truncate(self.payload);
        self.hold = Hold::Over(error);
        self.full = 0;
    }

    /// Ends the frame, and gives what is to be sent with it.
    ///
    /// # Errors
    ///
    /// If it cannot be sent: the frame is taken back then.
    pub(super) fn end(mut self) -> Result<Enclosed, Unsendable> {
        if let Hold::File(_) = self.hold
            && let Err(error) = self.spill(&[])
        {
            self.give_up(Some(error));
        }
        let body = self.length();
        if body > self.terms.limit as usize && !matches!(self.hold, Hold::Over(_)) {
            self.give_up(None);
        }
        let (frame, at) = (self.frame, self.at);
        let refused = match self.hold {
            Hold::Frame => return frame::end(frame, at, self.terms.limit).map(|()| None).map_err(Unsendable::TooLarge),
            Hold::Over(None) => Unsendable::TooLarge(body),
            Hold::Over(Some(error)) => Unsendable::Refused(error),
            Hold::File(file) => match file.seal() {
                Ok(sealed) => {
                    frame::enclose(frame, at, self.gone as u64);
                    return Ok(Some(sealed));
                }
                Err(error) => Unsendable::Refused(error),
            },
        };
        frame.truncate(at);
        Err(refused)
    }
}
