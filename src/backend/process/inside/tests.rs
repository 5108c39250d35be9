//! What a child makes of a parent that breaks the protocol: it leaves, and says why.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::End;
use super::post::Post;
use crate::backend::process::frame::{self, Kind};
use crate::backend::process::wire::{VERSION, Welcome, begin_job};

fn framed(kind: Kind, job: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, kind, job, body);
    out
}

fn welcome(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let pool = "strict".to_owned();
    Welcome { version: VERSION, level: 0, shares: false, limit: 100, pool, slot: 0, generation: 1 }.put(&mut out);
    change(&mut out);
    out
}

fn job(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let at = begin_job(&mut out, 7, "label", 0);
    out.extend_from_slice(b"payload");
    frame::end(&mut out, at, 100).expect("it is short");
    change(&mut out);
    out
}

/// What becomes of a child whose parent sends that and goes. `Ok`: it found nothing wrong until then.
fn hears(sent: &[u8]) -> Result<(), String> {
    let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
    theirs.write_all(sent).expect("it has room");
    theirs.shutdown(Shutdown::Write).expect("it is open");
    let lives = || {
        let post = Post::greet(ours, b"who")?;
        loop {
            post.next()?;
        }
    };
    let end: Result<(), End> = lives();
    match end {
        Err(End::ParentGone) => Ok(()),
        Err(End::Broken(said)) => Err(said),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_parent_that_keeps_the_protocol_is_believed() {
    let stop = framed(Kind::Stop, 0, b"");
    for frames in [
        vec![],
        vec![job(|_| ()), framed(Kind::Cancel, 7, b""), stop.clone()],
        // A job that was delivered before.
        vec![job(|out| out[6] = 3), stop],
    ] {
        assert_eq!(hears(&[welcome(|_| ()), frames.concat()].concat()), Ok(()));
    }
}

#[test]
fn a_parent_that_breaks_it_is_left() {
    for (sent, words) in [
        (welcome(|out| out[8] = 1), "a Welcome frame about job #1"),
        (welcome(|out| out[5] = 1), "a frame header that is not zero"),
        (welcome(|out| out[6] = 1), "a frame header that is not zero"),
        (welcome(|out| out[frame::HEADER] = 2), "it speaks version 2"),
        (welcome(|out| out[frame::HEADER + 2] = 6), "a WELCOME frame whose body is not one"),
        (welcome(|out| out[frame::HEADER + 3] = 2), "a WELCOME frame whose body is not one"),
        (framed(Kind::Welcome, 0, &[1, 0, 0]), "a WELCOME frame whose body is not one"),
        (framed(Kind::Stop, 0, b""), "it sent Stop instead of a welcome"),
    ] {
        let said = hears(&sent).expect_err(words);
        assert!(said.contains(words), "{said}");
    }
    for (sent, words) in [
        (job(|out| out[8] = 0), "a Job frame about job #0"),
        // Nothing was said of memory files.
        (job(|out| out[5] = 1), "a frame header that is not zero"),
        (job(|out| out[frame::HEADER + 1] = 1), "a JOB frame whose body is not one"),
        (framed(Kind::Job, 7, &[0; 101]), "a frame of 101 bytes, where 100 are allowed"),
        (framed(Kind::Cancel, 0, b""), "a Cancel frame about job #0"),
        (framed(Kind::Cancel, 7, b"x"), "a Cancel frame with a body of 1 bytes"),
        (framed(Kind::Stop, 7, b""), "a Stop frame about job #7"),
        (framed(Kind::Stop, 0, b"x"), "a Stop frame with a body of 1 bytes"),
        (framed(Kind::Beat, 7, b""), "it sent Beat"),
        (welcome(|_| ()), "it sent Welcome"),
    ] {
        let said = hears(&[welcome(|_| ()), sent].concat()).expect_err(words);
        assert!(said.contains(words), "{said}");
    }
}
